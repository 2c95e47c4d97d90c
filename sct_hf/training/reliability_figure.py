"""Reliability diagrams before and after calibration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sct_hf.files import atomic_write
from sct_hf.training.plot_style import FAINT, INK, styled


def reliability_figure(calibration: Mapping[str, Any], path: str | Path) -> None:
    """Draw the share of positives over the score, before and after calibration, as PNG.

    Args:
        calibration: The part of that name of decisions.json: `before` and `after`, each with `ECE` and `curve`, the
            points of `reliability_curve`.
        path: The PNG to write.
    """
    with styled():
        figure = Figure(figsize=(7.2, 3.7), layout="constrained")
        for column, (when, title) in enumerate({"before": "before calibration", "after": "after"}.items()):
            found = calibration[when]
            axes = figure.add_subplot(1, 2, column + 1)
            axes.plot((0, 1), (0, 1), color=INK, linewidth=0.8, linestyle=":")
            axes.plot(found["curve"]["score"], found["curve"]["positive"], marker="o", markersize=4, linewidth=1.6)
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="mean score")
            axes.set_title(f"{title}: error {100 * found['ECE']:.1f} %", loc="left", fontweight="bold")
            axes.grid(color=FAINT, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            if not column:
                axes.set_ylabel("share of positives")
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=120)
