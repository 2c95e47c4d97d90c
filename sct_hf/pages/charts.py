"""Charts of a page, drawn by Bokeh's script, which stands in the page: https://docs.bokeh.org."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sct_hf.errors import InputError
from sct_hf.pages.parts import shortened

_SCRIPTS = ("bokeh.min.js", "bokeh-api.min.js")
_POINTS = 400  # of a curve: more than a screen tells apart


@dataclass(frozen=True)
class Curve:
    """One curve of a chart.

    Attributes:
        name: Its name in the legend; any text.
        x, y: Its points. A point that is None, NaN or infinite leaves a gap.
        kind: "line"; "dots" (a line with a dot at each point); "dashed"; or "bars" from 0 to y, as wide as the
            distance of the first two x.
    """

    name: str
    x: Sequence[float | None] | np.ndarray
    y: Sequence[float | None] | np.ndarray
    kind: Literal["line", "dots", "dashed", "bars"] = "line"

    def to_dict(self) -> dict[str, Any]:
        """Its content for JSON: at most 400 points evenly chosen, with five digits."""
        count = min(len(self.x), _POINTS)
        places = np.linspace(0, len(self.x) - 1, count).round().astype(int).tolist()
        return {
            "name": shortened(self.name),
            "kind": self.kind,
            "x": [_number(self.x[place]) for place in places],
            "y": [_number(self.y[place]) for place in places],
        }


@dataclass(frozen=True)
class Chart:
    """Curves with two axes.

    Attributes:
        title: Heading; any text.
        x, y: Names of the axes: words of the program, no user's text.
        curves: Curves that are always drawn.
        choices: Further curves for each choice of the list above the charts, such as each label.
        x_range, y_range: Ends of the axes; None for those of the curves.
        diagonal: Whether to draw the line y = x.
        log: Whether the vertical axis is logarithmic.
        note: A line below.
    """

    title: str
    x: str
    y: str
    curves: Sequence[Curve] = ()
    choices: Mapping[str, Sequence[Curve]] = field(default_factory=dict)
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    diagonal: bool = False
    log: bool = False
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Its content for JSON."""
        return {
            **{"x": self.x, "y": self.y, "diagonal": self.diagonal, "log": self.log},
            **{"x_range": self.x_range, "y_range": self.y_range},
            "curves": [curve.to_dict() for curve in self.curves],
            "choices": [[curve.to_dict() for curve in curves] for curves in self.choices.values()],
        }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def chart_scripts() -> list[str]:
    """Bokeh's scripts, 1.4 MB. Bokeh itself is not imported.

    Raises:
        InputError: Bokeh is not installed.
    """
    spec = find_spec("bokeh")
    if spec is None or spec.origin is None:
        raise InputError('charts of a page need bokeh, which is not installed: pip install "sct_hf[train]"')
    folder = Path(spec.origin).parent / "server" / "static" / "js"
    return [(folder / name).read_text(encoding="utf-8") for name in _SCRIPTS]
