"""Coloured polygons, the material of rendered scenes."""

import colorsys
from itertools import pairwise
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import ImageDraw

Colour = tuple[int, int, int]


def _unit_arc(start: float, end: float) -> np.ndarray:
    angles = 2 * pi * np.linspace(start, end, 25)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


_CIRCLE = _unit_arc(0.0, 1.0)


class Shape(NamedTuple):
    """A filled polygon: `points` (K, 2) in the unit box."""

    points: np.ndarray
    colour: Colour


DARK: Colour = (38, 34, 40)
WOOD: Colour = (112, 76, 46)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB in 0..255 of a hue (turns, any real number), saturation and value in [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return round(255 * red), round(255 * green), round(255 * blue)


def paint(
    rng: Generator, hues: tuple[float, float], saturations: tuple[float, float], values: tuple[float, float]
) -> Colour:
    """Draw a colour with hue, saturation and value uniform in the ranges given."""
    return hsv(rng.uniform(*hues), rng.uniform(*saturations), rng.uniform(*values))


def bright(rng: Generator) -> Colour:
    """Draw a strong colour of any hue."""
    return paint(rng, (0, 1), (0.45, 0.95), (0.55, 1.0))


def shaded(colour: Colour, factor: float) -> Colour:
    """Darken (factor < 1) or lighten (factor > 1) a colour."""
    red, green, blue = (min(max(round(channel * factor), 0), 255) for channel in colour)
    return red, green, blue


def polygon(*points: tuple[float, float], colour: Colour) -> Shape:
    """A polygon through `points`."""
    return Shape(np.array(points, dtype=np.float64), colour)


def box(left: float, top: float, right: float, bottom: float, colour: Colour) -> Shape:
    """An upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom), colour=colour)


def ellipse(
    x: float,
    y: float,
    rx: float,
    ry: float,
    colour: Colour,
    *,
    turn: float = 0.0,
    arc: tuple[float, float] = (0.0, 1.0),
) -> Shape:
    """An ellipse turned by `turn` (turns, clockwise on the screen), or the segment of it within `arc` (turns)."""
    circle = _CIRCLE if arc == (0.0, 1.0) else _unit_arc(*arc)
    cosine, sine = cos(2 * pi * turn), sin(2 * pi * turn)
    axes = np.array([[rx * cosine, rx * sine], [-ry * sine, ry * cosine]])
    return Shape(circle @ axes + (x, y), colour)


def stroke(points: list[tuple[float, float]], width: float, colour: Colour) -> list[Shape]:
    """A line of some width through `points`."""
    line = np.array(points, dtype=np.float64)
    shapes = []
    for start, end in pairwise(line):
        step = end - start
        side = width / 2 * np.array([-step[1], step[0]]) / max(float(np.hypot(*step)), 1e-9)
        along = side[[1, 0]] * np.array([1, -1])
        shapes.append(
            Shape(
                np.stack([start - along + side, end + along + side, end + along - side, start - along - side]), colour
            )
        )
    return shapes


def fill(draw: ImageDraw.ImageDraw, shape: Shape, *, outlined: bool = False, level: int | None = None) -> None:
    """Draw a shape whose points are in units of the image's side; with one level for all of it, if given."""
    outline = (shaded(shape.colour, 0.45) if level is None else level) if outlined else None
    points = (shape.points * draw.im.size).ravel().tolist()
    draw.polygon(points, fill=shape.colour if level is None else level, outline=outline, width=2)
