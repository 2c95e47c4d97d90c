"""The background of a scene: sky, ground, water, and clutter without a label."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from sct_hf.data.scene_shapes import Colour, ellipse, fill, paint, polygon, shaded

_TEXTURE_SIDE = 128


def landscape(rng: Generator, horizon: float, waters: Sequence[tuple[float, float, float]], side: int) -> Image.Image:
    """Paint sky, hills, textured ground, ponds and things without a label.

    Args:
        rng: Source of all random choices.
        horizon: Height of the horizon, from the top, in units of the image's side.
        waters: Places that need a pond: x, y and half width, in the same units.
        side: Pixels of the image's side.
    """
    sky_low, sky_high = _sky(rng)
    ground = _ground(rng)
    slope = np.linspace(0, 1, _TEXTURE_SIDE)[:, None, None]
    sky = np.array(sky_high) * (1 - slope / horizon).clip(0) + np.array(sky_low) * (slope / horizon).clip(max=1)
    land = np.array(ground) * (0.8 + 0.35 * slope) + _texture(rng, rng.uniform(8, 26))
    pixels = np.where(slope < horizon, sky + _texture(rng, rng.uniform(0, 10)), land)
    canvas = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for _ in range(int(rng.integers(0, 3))):
        hill = (
            shaded(ground, rng.uniform(0.6, 0.95)) if rng.random() < 0.6 else shaded(sky_low, rng.uniform(0.6, 0.85))
        )
        fill(
            draw,
            ellipse(rng.random(), horizon + 0.02, rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.2), hill, arc=(0.5, 1)),
        )
    _blades(rng, draw, horizon, ground, side)
    water = paint(rng, (0.48, 0.64), (0.3, 0.75), (0.4, 0.85))
    for x, y, half in waters:
        _pond(rng, draw, x, max(y, horizon + 0.04), rng.uniform(1.1, 1.8) * half, water)
    if rng.random() < 0.2:
        _pond(rng, draw, rng.random(), rng.uniform(horizon + 0.1, 1), rng.uniform(0.1, 0.3), water)
    for _ in range(int(rng.integers(0, 4))):
        _clutter(rng, draw, rng.random(), rng.uniform(horizon, 1))
    return canvas


def _sky(rng: Generator) -> tuple[Colour, Colour]:
    """Colours at the horizon and at the top: day, dusk, overcast or night."""
    kind = rng.choice(4, p=[0.5, 0.2, 0.2, 0.1])
    if kind == 0:
        return paint(rng, (0.52, 0.6), (0.1, 0.3), (0.85, 1)), paint(rng, (0.55, 0.63), (0.4, 0.75), (0.7, 1))
    if kind == 1:
        return paint(rng, (0.0, 0.12), (0.3, 0.65), (0.85, 1)), paint(rng, (0.62, 0.9), (0.25, 0.6), (0.4, 0.8))
    if kind == 2:
        return paint(rng, (0.5, 0.7), (0.02, 0.12), (0.75, 0.95)), paint(rng, (0.5, 0.7), (0.02, 0.15), (0.5, 0.8))
    return paint(rng, (0.6, 0.75), (0.3, 0.6), (0.3, 0.5)), paint(rng, (0.6, 0.72), (0.4, 0.8), (0.1, 0.3))


def _ground(rng: Generator) -> Colour:
    """Grass, sand, snow, stone or earth."""
    kinds = [
        ((0.2, 0.36), (0.35, 0.75), (0.35, 0.75)),
        ((0.08, 0.14), (0.25, 0.55), (0.7, 0.95)),
        ((0.5, 0.65), (0.0, 0.1), (0.82, 0.97)),
        ((0.0, 1.0), (0.0, 0.1), (0.4, 0.7)),
        ((0.03, 0.1), (0.35, 0.65), (0.3, 0.55)),
    ]
    return paint(rng, *kinds[rng.choice(len(kinds), p=[0.4, 0.2, 0.15, 0.1, 0.15])])


def _texture(rng: Generator, strength: float) -> np.ndarray:
    """Two octaves of smooth noise (side, side, 1)."""
    total = np.zeros((_TEXTURE_SIDE, _TEXTURE_SIDE), dtype=np.float32)
    for cells in (8, 32):
        grid = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
        total += np.asarray(grid.resize((_TEXTURE_SIDE, _TEXTURE_SIDE), Image.Resampling.BICUBIC))
    return strength / 1.5 * total[..., None]


def _blades(rng: Generator, draw: ImageDraw.ImageDraw, horizon: float, ground: Colour, side: int) -> None:
    """Short strokes on the ground, larger towards the viewer."""
    count = int(rng.integers(20, 90))
    lean, flat = rng.uniform(-0.6, 0.6), rng.random() < 0.4
    near = rng.random(count)
    left = side * rng.random(count)
    top = side * (horizon + 0.02 + (1 - horizon) * near)
    length = side * (0.01 + 0.035 * near)
    run, rise = (length, 0.1 * length) if flat else (lean * length, -length)
    tones = [(*shaded(ground, factor), 170) for factor in (0.72, 0.85, 1.2)]
    ends = np.stack([left, top, left + run, top + rise], axis=1)
    for number, line in enumerate(ends.tolist()):
        draw.line(line, fill=tones[number % 3], width=1 + int(2 * near[number]))


def _pond(rng: Generator, draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, water: Colour) -> None:
    flatness = rng.uniform(0.25, 0.45)
    fill(draw, ellipse(x, y, 1.06 * radius, 1.1 * flatness * radius, shaded(water, 0.7)))
    fill(draw, ellipse(x, y, radius, flatness * radius, water))
    for _ in range(4):
        at, row = x + rng.uniform(-0.5, 0.5) * radius, y + rng.uniform(-0.5, 0.5) * flatness * radius
        fill(draw, ellipse(at, row, 0.22 * radius, 0.03 * radius, shaded(water, 1.3)))


def _clutter(rng: Generator, draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    """A thing without a label: a stone, a bush, a post or a crate."""
    size = rng.uniform(0.03, 0.09)
    kind = rng.integers(4)
    if kind == 0:
        stone = paint(rng, (0, 1), (0, 0.12), (0.35, 0.7))
        fill(draw, ellipse(x, y, size, 0.7 * size, stone, arc=(0.48, 1.02)))
        fill(draw, ellipse(x - 0.2 * size, y - 0.3 * size, 0.5 * size, 0.25 * size, shaded(stone, 1.2)))
    elif kind == 1:
        bush = paint(rng, (0.2, 0.4), (0.4, 0.8), (0.25, 0.6))
        for offset in (-0.7, 0.7, 0.0):
            fill(
                draw,
                ellipse(
                    x + offset * size, y - 0.5 * size, 0.8 * size, 0.7 * size, shaded(bush, 1 - 0.15 * abs(offset))
                ),
            )
    elif kind == 2:
        post = paint(rng, (0.03, 0.12), (0.1, 0.6), (0.3, 0.8))
        fill(
            draw, polygon((x, y), (x + 0.4 * size, y), (x + 0.4 * size, y - 3 * size), (x, y - 3 * size), colour=post)
        )
    else:
        crate = paint(rng, (0, 1), (0.2, 0.7), (0.35, 0.8))
        left, right, top, back = x - size, x + size, y - 1.6 * size, 0.4 * size
        faces = [
            (crate, [(left, y), (right, y), (right, top), (left, top)]),
            (shaded(crate, 1.25), [(left, top), (right, top), (right + back, top - back), (left + back, top - back)]),
            (shaded(crate, 0.7), [(right, y), (right, top), (right + back, top - back), (right + back, y - back)]),
        ]
        for colour, corners in faces:
            fill(draw, polygon(*corners, colour=colour))
