"""A plot of label counts, and of labels that occur together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sct_hf.data.summary import Summary
from sct_hf.files import atomic_write
from sct_hf.training.plot_style import FAINT, INK, styled

LABELS_SHOWN = 40
_COLOURS = ("#2a6f97", "#e0a458")
_NUMBERED = 25


def label_figure(summaries: Sequence[Summary], path: str | Path) -> None:
    """Draw images a label for each split as bars, and for the first split, which labels are seen together, as PNG.

    A cell of the right panel is the share of the images of its row's label that show its column's label too. Of
    more than `LABELS_SHOWN` labels, those most frequent in the first split are drawn.

    Args:
        summaries: Summaries of the training split and, if there is one, of the scored split, with the same labels.
        path: The PNG to write.
    """
    first = summaries[0]
    order = np.argsort(-first.positives, kind="stable")[:LABELS_SHOWN]  # (K,)
    names = [first.label_names[column] for column in order]
    with styled([*names, *(summary.name for summary in summaries)]) as drawn:
        names = [*map(drawn, names)]
        side = 0.8 + 0.07 * max(map(len, names)) + 0.24 * len(names)
        summaries = [replace(summary, name=drawn(summary.name)) for summary in summaries]
        figure = Figure(figsize=(2 * max(side, 3.6) + 0.8, max(side, 3.2) + 0.4), layout="constrained")
        bars, cells = figure.subplots(1, 2)
        _bars(bars, summaries, order, names)
        places = np.searchsorted(first.paired, order)
        together = first.together[np.ix_(places, places)]  # (K, K)
        _cells(cells, together / np.maximum(first.positives[order], 1)[:, None], names)
        if len(names) < len(first.label_names):
            figure.suptitle(f"the {len(names)} most frequent of {len(first.label_names)} labels", fontsize=9)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=110)


def _bars(axes: Axes, summaries: Sequence[Summary], order: np.ndarray, names: Sequence[str]) -> None:
    height = 0.8 / len(summaries)
    for place, (summary, colour) in enumerate(zip(summaries, _COLOURS, strict=False)):
        at = np.arange(len(names)) + (place - (len(summaries) - 1) / 2) * height
        drawn = axes.barh(at, summary.positives[order], height, color=colour, label=summary.name)
        axes.bar_label(drawn, padding=2, fontsize=7 if len(summaries) == 1 else 6)
        if summary.unknown.any():
            left = summary.positives[order]
            axes.barh(
                at, summary.unknown[order], height, left=left, color=FAINT, hatch="///", edgecolor="white", zorder=0
            )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.01)
    axes.set_xlabel("images (hatched: not judged)" if any(one.unknown.any() for one in summaries) else "images")
    axes.set_title("images that show a label", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _cells(axes: Axes, shares: np.ndarray, names: Sequence[str]) -> None:
    """Draw shares (K, K) in [0, 1]; the diagonal, always 1, is left blank."""
    shown = np.where(np.eye(len(names), dtype=bool), np.nan, shares)
    top = max(float(np.nanmax(shown, initial=0)), 0.01)
    image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=top)
    if len(names) <= _NUMBERED:
        for (row, column), share in np.ndenumerate(shown):
            if share >= 0.005:
                colour = "white" if share > 0.6 * top else INK
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_title("seen together: % of the row's images", loc="left", fontweight="bold")
    axes.figure.colorbar(image, ax=axes, format=lambda share, _: f"{100 * share:.0f} %", shrink=0.7)
