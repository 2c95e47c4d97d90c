"""Figures of a run: its curves, and a sheet of tagged images with heatmaps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from PIL import Image
from transformers import PreTrainedModel

from sct_hf.data import LabelledImages
from sct_hf.files import atomic_write
from sct_hf.inference.scoring import score_images
from sct_hf.model.image_processing_sct import heatmap_overlay, to_rgb
from sct_hf.training.plot_style import FAINT, INK, styled

RIGHT, WRONG, MISSED, OTHER = "#2e8b57", "#c8382e", "#c77700", "#7b8794"
SHOWN_SIDE = 400
_WATCHED = "training_mAP"


def training_curves(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw loss and its parts, learning rates and mAP (held-out, or of training images) as PNG.

    Args:
        history: Rows in order of time, each with `step` and any of `epoch`, `loss`, `losses/…`, `lr…`, `…mAP`. A
            missing value, None, NaN or infinity leaves a gap.
        path: The PNG to write.
    """
    panels, axis = curve_panels(history)
    with styled():
        figure = Figure(figsize=(4.6 * max(len(panels), 1), 3.6), layout="constrained")
        for column, (title, lines) in enumerate(panels.items()):
            axes = figure.add_subplot(1, len(panels), column + 1)
            for key in lines:
                _line(axes, history, axis, key, percent=title.endswith("(%)"))
            _finish_curves(axes, title, axis)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=120)


def curve_panels(history: Sequence[Mapping[str, Any]]) -> tuple[dict[str, list[str]], str]:
    """The keys of a history's rows to draw, by the title of their panel; and the horizontal axis, a key too."""
    keys = list(dict.fromkeys(key for row in history for key in row))
    panels = {
        "loss": [key for key in keys if key == "loss" or key.startswith("losses/")],
        "learning rate": [key for key in keys if key.startswith("lr")],
        "held-out mAP (%)": [key for key in keys if key.endswith("mAP") and key != _WATCHED],
        "mAP (%)": [key for key in keys if key == _WATCHED],
    }
    epochs = [row.get("epoch") for row in history]
    axis = "epoch" if None not in epochs and len(set(epochs)) == len(epochs) else "step"
    return {title: lines for title, lines in panels.items() if lines}, axis


def _line(axes: Axes, history: Sequence[Mapping[str, Any]], axis: str, key: str, *, percent: bool) -> None:
    at = [row[axis] for row in history]
    values = np.array([math.nan if row.get(key) is None else row[key] for row in history], dtype=float)
    values[~np.isfinite(values)] = np.nan
    seen = np.flatnonzero(~np.isnan(values))
    values = 100 * values if percent else values
    main = key == "loss" or percent
    axes.plot(
        np.take(at, seen),
        values[seen],
        label=curve_name(key),
        linewidth=2.2 if main else 1.4,
        color=INK if key == "loss" else None,
        marker="o" if len(seen) < 30 else None,
        markersize=3.5,
    )
    if percent and len(seen):
        best = seen[values[seen].argmax()]
        axes.annotate(
            f"best {values[best]:.1f} at {axis} {at[best]:g}",
            (at[best], values[best]),
            xytext=(0, -22),
            textcoords="offset points",
            ha="right" if best > len(at) / 2 else "left",
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8},
        )


def curve_name(key: str) -> str:
    """The legend's name of a key of `curve_panels`."""
    if key == _WATCHED:
        return "training images, up to 256, seen in training"
    return key.removeprefix("losses/").replace("_", " ").removesuffix("mAP").strip()


def _finish_curves(axes: Axes, title: str, axis: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(axis)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    if title == "loss" and len(values) and values.min() > 0 and values.max() > 50 * values.min():
        axes.set_yscale("log")
    elif title == "learning rate":
        axes.yaxis.set_major_formatter("{x:g}")
    if len(axes.lines) > 1 or title == "mAP (%)":
        axes.legend(frameon=False, fontsize=8)


def sample_images(images: LabelledImages, count: int = 8) -> list[tuple[str, Image.Image]]:
    """A few images spread over a split, with their ids."""
    places = sorted({round(place) for place in np.linspace(0, len(images) - 1, count).tolist()})
    return [(images.image_ids[place], images.image(place)) for place in places]


def tag_sheet(
    model: PreTrainedModel,
    processor: Any,
    images: Sequence[Image.Image],
    path: str | Path,
    *,
    targets: ArrayLike | None = None,
    threshold: float = 0.5,
    tags_shown: int = 5,
    maps_shown: int = 2,
) -> None:
    """Draw a sheet of images, each with its best tags and their region-to-label transport plans.

    A label that scores at or above the threshold is green if the target is 1 and red if it is 0. A label below the
    threshold with target 1 is amber, and listed as missed even if it is not drawn. Others are grey, as are labels with
    unknown or missing targets. Heatmaps show the best labels; a model without a
    transport plan has none. No cell is empty: an odd number of images stands in one column.

    Args:
        model: An image classifier with sigmoid scores; its mode and device are restored.
        processor: Its image processor.
        images: Images, any mode.
        path: The PNG to write.
        targets: (len(images), C): 1 present, 0 absent, -1 or NaN unknown.
        threshold: Score from which a label counts as predicted.
        tags_shown: Number of labels drawn for each image.
        maps_shown: Number of best labels whose heatmaps are drawn.
    """
    shown = [to_rgb(image) for image in images]
    scores, plans = score_images(model, processor, shown, maps=True)  # (B, C), (B, C, H', W')
    for image in shown:
        image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    config: Any = model.config
    names = [str(config.id2label[label]) for label in range(scores.shape[1])]
    truth = np.full(scores.shape, np.nan) if targets is None else np.asarray(targets, dtype=float)
    per_row = 1 if len(shown) % 2 else 2
    rows = math.ceil(len(shown) / per_row)
    shares = [1.0, 1.05, *([1.0] * min(maps_shown, len(names)) if plans is not None else [])]
    with styled(names) as drawn:
        names = [*map(drawn, names)]
        figure = Figure(figsize=(2.45 * len(shares) * per_row, 2.5 * rows), layout="constrained")
        cells = figure.subfigures(rows, per_row, wspace=0.04, hspace=0.03, squeeze=False).ravel()
        for index, (cell, image) in enumerate(zip(cells, shown, strict=False)):
            order = np.argsort(-scores[index], kind="stable").tolist()
            panels = cell.subplots(1, len(shares), width_ratios=shares)
            for panel in panels:
                panel.set_axis_off()
            _show(panels[0], image, "")
            _bars(panels[1], scores[index], truth[index], names, order[:tags_shown], threshold)
            maps = [] if plans is None else [(names[label], plans[index, label]) for label in order[:maps_shown]]
            for panel, (name, plan) in zip(panels[2:], maps, strict=False):
                _show(panel, heatmap_overlay(image, plan), f"{name} · peak {plan.max():.2f}")
        _key(figure, threshold, judged=targets is not None, mapped=plans is not None)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=110)


def _show(axes: Axes, image: Image.Image, title: str) -> None:
    axes.imshow(image)
    axes.set_title(title, fontsize=8.5)


def _bars(
    axes: Axes, scores: np.ndarray, truth: np.ndarray, names: Sequence[str], drawn: list[int], threshold: float
) -> None:
    """Draw the labels `drawn` as bars: scores, truth (C,)."""
    places = range(len(drawn))
    axes.barh(places, [1] * len(drawn), height=0.3, color=FAINT, alpha=0.45)
    for place, label in zip(places, drawn, strict=True):
        sure = scores[label] >= threshold
        colour = {1.0: RIGHT if sure else MISSED, 0.0: WRONG if sure else OTHER}.get(truth[label], OTHER)
        text: Any = {"va": "bottom", "fontsize": 8.5, "fontweight": "bold" if sure else "normal"}
        axes.barh(place, scores[label], height=0.3, color=colour, alpha=1 if sure else 0.5)
        axes.text(0, place - 0.24, names[label], color=colour, **text)
        axes.text(1, place - 0.24, f"{scores[label]:.2f}", ha="right", **text)
    axes.vlines(threshold, -0.3, len(drawn) - 0.7, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(len(drawn) - 0.2, -0.8))
    missed = [names[label] for label in np.flatnonzero((truth == 1) & (scores < threshold)).tolist()]
    if missed:
        more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
        axes.text(0, len(drawn) - 0.5, f"missed: {', '.join(missed[:3])}{more}", va="center", fontsize=8, color=MISSED)


def _key(figure: Figure, threshold: float, *, judged: bool, mapped: bool) -> None:
    """Explain the colours below the sheet."""
    entries = [(RIGHT, "right"), (WRONG, "wrong"), (MISSED, "missed"), (OTHER, "not predicted, or unknown")]
    handles: list[Any] = [Patch(color=colour, label=text) for colour, text in entries] if judged else []
    handles.append(Line2D([], [], color=INK, linewidth=0.8, linestyle=":", label=f"threshold {threshold:g}"))
    if mapped:
        meaning = "heatmap: where the tag was found (bright: most)"
        handles.append(Line2D([], [], linestyle="", label=meaning))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5)
