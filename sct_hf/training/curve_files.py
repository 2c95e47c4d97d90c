"""A learning curve as a figure and as a page."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Plot

from sct_hf.files import atomic_write
from sct_hf.pages import Chart, Column, Curve, Figure, Table, write_page
from sct_hf.training.curve import LearningCurve, forecast_lines
from sct_hf.training.plot_style import FAINT, INK, styled
from sct_hf.training.power_law import fit_power_law

_TITLE = "Learning curve"


def _law(curve: LearningCurve) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of images, and mAP in percent of the law through the measured scores."""
    sizes = np.linspace(curve.sizes[0], curve.twice.size, 60)
    return sizes, 100 * fit_power_law(np.array(curve.sizes, dtype=float), np.array(curve.scores)).at(sizes)


def write_curve_figure(curve: LearningCurve, path: Path) -> None:
    """Draw the scores, the law through them and the forecast as a PNG."""
    ahead = [curve.now, curve.twice]
    with styled():
        figure = Plot(figsize=(5, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(*_law(curve), color=FAINT, zorder=0)
        measured = 100 * np.array(curve.scores)
        axes.errorbar(curve.sizes, measured, 100 * np.array(curve.errors), fmt="o", color=INK, label="measured")
        middle = np.array([100 * one.score for one in ahead])
        ends = [[100 * (one.score - one.low) for one in ahead], [100 * (one.high - one.score) for one in ahead]]
        axes.errorbar(
            [one.size for one in ahead], middle, ends, fmt="s", color="#e0a458", label="expected, nine times in ten"
        )
        axes.set(xlabel="training images", ylabel="mAP %")
        axes.legend(frameon=False, loc="lower right")
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=120)


def write_curve_page(curve: LearningCurve, path: Path) -> None:
    """Write the page: the forecast, the curve, and each label's scores."""
    twice = curve.twice
    measured = [100 * score for score in curve.scores]
    chart = Chart(
        "mAP by number of training images",
        "training images",
        "mAP %",
        [
            Curve("measured", curve.sizes, measured, "dots"),
            Curve("power law", *_law(curve), "dashed"),
            *(
                Curve(f"expected with {one.size:,}", [one.size] * 3, [100 * one.low, 100 * one.score, 100 * one.high],
                      "dots")
                for one in (curve.now, twice)
            ),
        ],
    )  # fmt: skip
    sizes = [Column(f"AP with {size:,}", "percent") for size in curve.sizes]
    rows = [
        [name, *scores, scores[-1] - scores[-2]]
        for name, scores in zip(curve.label_names, curve.per_label, strict=True)
    ]
    content = {
        "figures": [
            Figure("labelled images", f"{curve.images:,}"),
            Figure("mAP expected with them", f"{100 * curve.now.score:.1f}"),
            Figure(
                "twice as many", f"{100 * twice.gain:+.1f}",
                f"{100 * twice.gain_low:+.1f} to {100 * twice.gain_high:+.1f} nine times in ten",
            ),
        ],
        "lines": forecast_lines(curve),
        "charts": [chart],
        "labels": Table([Column("label"), *sizes, Column("by the last doubling", "difference")], rows),
    }  # fmt: skip
    write_page(path, Path(__file__).with_name("learning_curve.html"), _TITLE, content, charts=True)
