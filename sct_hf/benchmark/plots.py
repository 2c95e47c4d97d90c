"""Plots of accuracy over the operations of a head, the number of training images, and the share of known labels."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from sct_hf.benchmark.contenders import CONTENDERS
from sct_hf.benchmark.statistics import paired_difference, spread
from sct_hf.files import atomic_write
from sct_hf.training.plot_style import FAINT, INK, styled

_REFERENCE = "linear"
_LONGEST_TITLE = 300
# Okabe and Ito's colours, which people with any colour vision tell apart, and two more.
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#7F7F7F",
    "#882255",
    "#999933",
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
_PLACES = [
    (distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle)))
    for distance in (10, 18, 28, 40, 55)
    for angle in (0, 180, 45, 135, 315, 225, 90, 270)
]

Row = Mapping[str, Any]


def accuracy_against_cost(rows: Sequence[Row], path: str | Path, title: str) -> None:
    """Draw mAP over the head's GFLOP (logarithmic), one point per head, with the standard deviation over seeds.

    Args:
        rows: Final runs on one number of training images: `contender`, `title`, `mAP` (fraction) and `head_gflop`.
        path: The PNG to write.
        title: What is shown.
    """
    with styled([title], _LONGEST_TITLE) as drawn:
        figure = Figure(figsize=(7.2, 4.8), layout="constrained")
        axes = figure.add_subplot()
        points = []
        for name, runs in _by_head(rows).items():
            mean, deviation, _ = spread([100 * run["mAP"] for run in runs])
            place = (runs[0]["head_gflop"], mean)
            axes.errorbar(*place, yerr=_bar(deviation), **_look(name), linestyle="", capsize=3)
            points.append((runs[0]["title"], place, _bar(deviation), _look(name)["color"]))
        axes.set_xscale("log")
        axes.margins(x=0.18, y=0.15)
        _finish(axes, drawn(title), "GFLOP of the head, one image, forward", _seeds(rows))
        figure.draw_without_rendering()
        _label(axes, points)
        _save(figure, path)


def accuracy_against_images(rows: Sequence[Row], path: str | Path, title: str) -> None:
    """Draw mAP over the number of training images (logarithmic), one line per head, with the deviation over seeds.

    If the linear head is included, a second panel shows the differences from it, paired by seed, with standard errors.

    Args:
        rows: Final runs: `contender`, `title`, `seed`, `mAP` (fraction) and `train_images`.
        path: The PNG to write.
        title: What is shown.
    """
    heads = {name: _by_count(runs) for name, runs in _by_head(rows).items()}
    titles = {row["contender"]: row["title"] for row in rows}
    reference = heads.get(_REFERENCE)
    with styled([title], _LONGEST_TITLE) as drawn:
        figure = Figure(figsize=(7.2 if reference is None else 12, 4.8), layout="constrained")
        panels = figure.subplots(1, 1 if reference is None else 2, squeeze=False)[0]
        for place, (name, scores) in enumerate(heads.items()):
            aside = 1.012 ** (place - (len(heads) - 1) / 2)  # error bars side by side
            lines = [[(count, *spread(list(found.values()))[:2]) for count, found in scores.items()]]
            if reference is not None and name != _REFERENCE:
                differences = [
                    (count, paired_difference(found, reference[count]))
                    for count, found in scores.items()
                    if count in reference
                ]
                lines.append([(count, found.mean, found.standard_error) for count, found in differences if found])
            for axes, line in zip(panels, lines, strict=False):
                axes.errorbar(
                    [count * aside for count, _, _ in line],
                    [mean for _, mean, _ in line],
                    yerr=[_bar(bar) for _, _, bar in line],
                    label=titles[name],
                    capsize=3,
                    **_look(name),
                )
        for axes in panels:
            axes.set_xscale("log")
            counts = sorted({row["train_images"] for row in rows})
            axes.set_xticks(counts, [f"{count:,}" for count in counts])
            axes.minorticks_off()
        _finish(panels[0], drawn(title), "training images", _seeds(rows))
        panels[0].legend(frameon=False, fontsize=8.5)
        if reference is not None:
            above = f"mAP above {titles[_REFERENCE]} (points), mean ± standard error"
            panels[1].axhline(0, color=INK, linewidth=0.8)
            _finish(panels[1], "", "training images", above)
        _save(figure, path)


def accuracy_against_known(rows: Sequence[Row], path: str | Path, title: str) -> None:
    """Draw mAP over the share of known labels, one line per treatment, with the standard deviation over seeds.

    Runs with all labels known are a dashed line; runs with single positives have their own panel.

    Args:
        rows: Runs: the treatment's `title`, `known_proportion`, `single_positive`, `seed` and `mAP` (fraction).
        path: The PNG to write.
        title: What is shown.
    """
    titles = list(dict.fromkeys(row["title"] for row in rows))
    single = [row for row in rows if row["single_positive"]]
    partly = [row for row in rows if not row["single_positive"] and row["known_proportion"] < 1]
    whole = [100 * row["mAP"] for row in rows if not row["single_positive"] and row["known_proportion"] == 1]
    parts = [part for part in (partly, single) if part]
    with styled([title], _LONGEST_TITLE) as drawn:
        figure = Figure(figsize=(7.2 if len(parts) < 2 else 9.2, 4.8), layout="constrained")
        ratios = {"width_ratios": [4, 1][: len(parts)]}
        panels = figure.subplots(1, max(len(parts), 1), squeeze=False, sharey=True, gridspec_kw=ratios)[0]
        for axes, part in zip(panels, parts, strict=False):
            for place, name in enumerate(titles):
                scores: dict[float, list[float]] = {}
                for row in part:
                    if row["title"] == name:
                        at = place if row["single_positive"] else 100 * row["known_proportion"]
                        scores.setdefault(at, []).append(100 * row["mAP"])
                means = [spread(scores[at]) for at in sorted(scores)]
                heights, bars = [found.mean for found in means], [_bar(found.deviation) for found in means]
                axes.errorbar(sorted(scores), heights, yerr=bars, label=name, capsize=3, **_style(place))
        for axes in panels if whole else []:
            axes.axhline(spread(whole).mean, color=INK, linewidth=0.8, linestyle="--", label="all labels known")
        _finish(panels[0], drawn(title), "labels known (%)" if partly else "single positives", _seeds(rows))
        panels[0].legend(frameon=False, fontsize=8.5)
        if single:
            panels[-1].set_xticks([])
            panels[-1].set_xlim(-0.8, len(titles) - 0.2)
        if len(parts) > 1:
            _finish(panels[1], "", "single positives", "")
        _save(figure, path)


def _by_head(rows: Sequence[Row]) -> dict[str, list[Row]]:
    heads: dict[str, list[Row]] = {}
    for row in rows:
        heads.setdefault(row["contender"], []).append(row)
    return heads


def _by_count(runs: Sequence[Row]) -> dict[int, dict[Any, float]]:
    """MAP in percent by number of training images, and by seed below it."""
    scores: dict[int, dict[Any, float]] = {}
    for run in sorted(runs, key=lambda run: run["train_images"]):
        scores.setdefault(run["train_images"], {})[run["seed"]] = 100 * run["mAP"]
    return scores


def _look(name: str) -> dict[str, Any]:
    """Colour and marker of a head, the same in every plot."""
    return _style(list(CONTENDERS).index(name))


def _style(place: int) -> dict[str, Any]:
    colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 6, "linewidth": 1.4}


def _bar(deviation: float) -> float:
    return 0.0 if math.isnan(deviation) else deviation


def _seeds(rows: Sequence[Row]) -> str:
    seeds = len({row["seed"] for row in rows})
    return f"mAP (%), mean ± standard deviation of {seeds} seeds" if seeds > 1 else "mAP (%), one seed"


def _finish(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, wrap=True)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _label(axes: Axes, points: Sequence[tuple[str, tuple[float, float], float, str]]) -> None:
    """Write names next to points, so that they cover no other name, point or error bar if possible."""
    taken: list[Bbox] = []
    for _, (x, y), bar, _ in points:
        low, high = axes.transData.transform([(x, y - bar), (x, y + bar)])
        taken.append(Bbox([low - 6, high + 6]))
    inside = axes.get_window_extent()
    for title, point, _, colour in points:
        for offset in _PLACES:
            note = axes.annotate(
                title,
                point,
                xytext=offset,
                textcoords="offset points",
                ha="left" if offset[0] > 1 else "right" if offset[0] < -1 else "center",
                va="center",
                fontsize=9,
                color=INK,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3},
            )
            note.get_window_extent()  # puts the words in their place
            box = Text.get_window_extent(note)  # of the words, without the line
            free = _within(box, inside) and not any(box.overlaps(other) for other in taken)
            if free or offset == _PLACES[-1]:
                taken.append(box)
                break
            note.remove()


def _within(box: Bbox, outer: Bbox) -> bool:
    return bool(outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 and box.y1 <= outer.y1)


def _save(figure: Figure, path: str | Path) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150)
