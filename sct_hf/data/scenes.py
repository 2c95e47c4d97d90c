"""Little rendered scenes: things with everyday names on a textured ground, the data set that needs no download."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.random import Generator
from PIL import Image, ImageDraw

from sct_hf.data.base import LabelledImages, features_for
from sct_hf.data.scene_objects import DRAWINGS, Colour, Shape, ellipse, paint, polygon, shaded
from sct_hf.errors import InputError

SCENE_LABELS: list[str] = list(DRAWINGS)
"""The 16 labels, in the order of the target columns."""

SCENE_SIDE = 128
"""Pixels of a picture's side."""

SCENE_SIZES: dict[str, int] = {"train": 3000, "test": 1000}
"""The splits and the number of pictures each has unless `size` says otherwise."""

_VERSION = 1
_OVERSAMPLING = 2
_MASK_SIDE = 64
_LEAST_VISIBLE = 0.4
_LEAST_INSIDE = 0.6

_IN_SKY = {"balloon", "bird", "butterfly", "cloud", "sun"}
_ON_WATER = {"boat", "fish"}
_RELATIVE_SIZE = {"house": 1.3, "tree": 1.35, "sun": 0.9, "flower": 0.85, "mushroom": 0.8, "bird": 0.8, "butterfly": 0.8}


@dataclass(frozen=True)
class _Thing:
    """A placed object: its polygons in units of the picture's side, and the ground point it stands on, if any."""

    label: int
    shapes: list[Shape]
    outlined: bool
    foot: tuple[float, float, float] | None  # x, y, half width


def read_scenes(split: str, *, size: int | None = None, seed: int = 0, cache_dir: str | Path | None = None) -> LabelledImages:
    """Render one split, or take it from the cache of an earlier call.

    A picture is a function of (seed, split, its number) alone: a smaller `size` gives the first pictures of a larger.

    Args:
        split: "train" or "test".
        size: Number of pictures; by default 3000 and 1000.
        seed: Seed of the rendering.
        cache_dir: Where rendered splits are kept; by default the cache of `datasets`.

    Raises:
        InputError: An unknown split, or `size` below 1.
    """
    if split not in SCENE_SIZES:
        raise InputError(f"split is {split!r}: scenes has {' and '.join(SCENE_SIZES)}")
    size = SCENE_SIZES[split] if size is None else size
    if size < 1:
        raise InputError(f"size is {size}: give at least 1 picture")
    dataset = Dataset.from_generator(
        _encoded_scenes,
        features=features_for(SCENE_LABELS),
        cache_dir=None if cache_dir is None else str(cache_dir),
        gen_kwargs={"seed": seed, "split": split, "size": size, "version": _VERSION},
    )
    return LabelledImages(dataset, "scenes", split)


def render_scene(seed: int, split: str, index: int) -> tuple[Image.Image, list[int]]:
    """Render one picture.

    Returns:
        The RGB picture, 128 px square, and the sorted indices into `SCENE_LABELS` of what it shows. At least
        0.4 of each thing is visible.
    """
    rng = np.random.default_rng([seed, list(SCENE_SIZES).index(split), index])
    horizon = rng.uniform(0.3, 0.6)
    count = int(rng.choice([2, 3, 4, 5], p=[0.2, 0.3, 0.3, 0.2]))
    labels = rng.choice(len(SCENE_LABELS), size=count, replace=False)
    things = _placed(rng, labels, horizon)
    while not _all_visible(things):
        things = _placed(rng, labels, horizon)
    canvas = _background(rng, horizon, things)
    _draw_things(canvas, things)
    return _photographed(rng, canvas), sorted(int(label) for label in labels)


def _encoded_scenes(seed: int, split: str, size: int, version: int) -> Iterator[dict[str, Any]]:
    for index in range(size):
        picture, labels = render_scene(seed, split, index)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=1)
        image = {"bytes": buffer.getvalue(), "path": None}
        yield {"image_id": f"{split}-{index:05d}", "image": image, "labels": labels, "unknown": []}


def _placed(rng: Generator, labels: np.ndarray, horizon: float) -> list[_Thing]:
    """Place one thing of each label, and sometimes a second, from the back of the scene to its front."""
    things: list[tuple[float, _Thing]] = []
    last: tuple[float, float] | None = None
    for label in [*labels, *labels[: int(rng.random() < 0.25)]]:
        name = SCENE_LABELS[label]
        if name in _IN_SKY:
            depth = -1.0 if name == "sun" else rng.uniform(-1, 0.4)
            x, y, size = rng.uniform(0.08, 0.92), rng.uniform(0.08, horizon + 0.08), rng.uniform(0.11, 0.21)
        else:
            depth = rng.random()
            x, y = rng.uniform(0.08, 0.92), horizon + (0.97 - horizon) * depth
            size = 0.11 + 0.1 * depth + rng.uniform(-0.015, 0.03)
        size *= _RELATIVE_SIZE.get(name, 1.0)
        if last is not None and rng.random() < 0.45:
            x = float(np.clip(last[0] + rng.choice([-1, 1]) * rng.uniform(0.5, 1.0) * (size + last[1]), 0.05, 0.95))
        last = (x, size)
        things.append((depth, _thing(rng, int(label), name, x, y, size)))
    return [thing for _, thing in sorted(things, key=lambda pair: pair[0])]


def _thing(rng: Generator, label: int, name: str, x: float, y: float, size: float) -> _Thing:
    standing = name not in _IN_SKY and name not in _ON_WATER
    swing = {"umbrella": 0.1, "fish": 0.08, "butterfly": 0.12, "bird": 0.05, "balloon": 0.05}.get(name, 0.02)
    angle = 2 * np.pi * rng.uniform(-swing, swing)
    wide, high = size * rng.uniform(0.85, 1.15, size=2)
    mirrored = rng.choice([-1.0, 1.0])
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([mirrored * wide, high])
    centre = np.array([x, y - 0.95 * high if standing else y])
    shapes = [Shape(shape.points @ matrix.T + centre, shape.colour) for shape in DRAWINGS[name](rng)]
    foot = None if name in _IN_SKY else (x, y if standing else y + 0.55 * high, wide)
    return _Thing(label, shapes, bool(rng.random() < 0.35), foot)


def _all_visible(things: list[_Thing]) -> bool:
    """Whether enough of each thing lies inside the picture and before the others."""
    mask = Image.new("L", (2 * _MASK_SIDE, 2 * _MASK_SIDE))
    draw = ImageDraw.Draw(mask)
    inside = (slice(_MASK_SIDE // 2, 3 * _MASK_SIDE // 2),) * 2
    areas = []
    for number, thing in enumerate(things, start=1):
        for shape in thing.shapes:
            draw.polygon(((shape.points + 0.5) * _MASK_SIDE).ravel().tolist(), fill=number)
        drawn = np.asarray(mask) == number
        areas.append((drawn.sum(), drawn[inside].sum()))
    seen = np.bincount(np.asarray(mask)[inside].ravel(), minlength=len(things) + 1)[1:]
    return all(
        within >= _LEAST_INSIDE * whole and visible >= _LEAST_VISIBLE * whole
        for (whole, within), visible in zip(areas, seen, strict=True)
    )


def _background(rng: Generator, horizon: float, things: list[_Thing]) -> Image.Image:
    """Sky, hills, textured ground, water and things without a label."""
    side = SCENE_SIDE * _OVERSAMPLING
    sky_low, sky_high = _sky(rng)
    ground = _ground(rng)
    slope = np.linspace(0, 1, SCENE_SIDE)[:, None, None]
    sky = np.array(sky_high) * (1 - slope / horizon).clip(0) + np.array(sky_low) * (slope / horizon).clip(max=1)
    land = np.array(ground) * (0.8 + 0.35 * slope) + _texture(rng, rng.uniform(8, 26))
    pixels = np.where(slope < horizon, sky + _texture(rng, rng.uniform(0, 10)), land)
    canvas = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for _ in range(int(rng.integers(0, 3))):
        hill = shaded(ground, rng.uniform(0.6, 0.95)) if rng.random() < 0.6 else shaded(sky_low, rng.uniform(0.6, 0.85))
        _fill(draw, ellipse(rng.random(), horizon + 0.02, rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.2), hill, arc=(0.5, 1)))
    _blades(rng, draw, horizon, ground)
    water = paint(rng, (0.48, 0.64), (0.3, 0.75), (0.4, 0.85))
    for thing in things:
        if thing.foot and SCENE_LABELS[thing.label] in _ON_WATER:
            _pond(rng, draw, thing.foot[0], max(thing.foot[1], horizon + 0.04), rng.uniform(1.1, 1.8) * thing.foot[2], water)
    if rng.random() < 0.2:
        _pond(rng, draw, rng.random(), rng.uniform(horizon + 0.1, 1), rng.uniform(0.1, 0.3), water)
    for _ in range(int(rng.integers(0, 4))):
        _clutter(rng, draw, rng.random(), rng.uniform(horizon, 1))
    return canvas


def _sky(rng: Generator) -> tuple[Colour, Colour]:
    """Colours at the horizon and at the top: day, dusk, overcast or night."""
    kind = rng.choice(4, p=[0.45, 0.2, 0.2, 0.15])
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
    total = np.zeros((SCENE_SIDE, SCENE_SIDE), dtype=np.float32)
    for cells in (8, 32):
        grid = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
        total += np.asarray(grid.resize((SCENE_SIDE, SCENE_SIDE), Image.Resampling.BICUBIC))
    return strength / 1.5 * total[..., None]


def _blades(rng: Generator, draw: ImageDraw.ImageDraw, horizon: float, ground: Colour) -> None:
    """Short strokes on the ground, larger towards the viewer."""
    side = SCENE_SIDE * _OVERSAMPLING
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
    _fill(draw, ellipse(x, y, 1.06 * radius, 1.1 * flatness * radius, shaded(water, 0.7)))
    _fill(draw, ellipse(x, y, radius, flatness * radius, water))
    for _ in range(4):
        at, row = x + rng.uniform(-0.5, 0.5) * radius, y + rng.uniform(-0.5, 0.5) * flatness * radius
        _fill(draw, ellipse(at, row, 0.22 * radius, 0.03 * radius, shaded(water, 1.3)))


def _clutter(rng: Generator, draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    """A thing without a label: a stone, a bush, a post or a crate."""
    size = rng.uniform(0.03, 0.09)
    kind = rng.integers(4)
    if kind == 0:
        stone = paint(rng, (0, 1), (0, 0.12), (0.35, 0.7))
        _fill(draw, ellipse(x, y, size, 0.7 * size, stone, arc=(0.48, 1.02)))
        _fill(draw, ellipse(x - 0.2 * size, y - 0.3 * size, 0.5 * size, 0.25 * size, shaded(stone, 1.2)))
    elif kind == 1:
        bush = paint(rng, (0.2, 0.4), (0.4, 0.8), (0.25, 0.6))
        for offset in (-0.7, 0.7, 0.0):
            _fill(draw, ellipse(x + offset * size, y - 0.5 * size, 0.8 * size, 0.7 * size, shaded(bush, 1 - 0.15 * abs(offset))))
    elif kind == 2:
        post = paint(rng, (0.03, 0.12), (0.1, 0.6), (0.3, 0.8))
        _fill(draw, polygon((x, y), (x + 0.4 * size, y), (x + 0.4 * size, y - 3 * size), (x, y - 3 * size), colour=post))
    else:
        crate = paint(rng, (0, 1), (0.2, 0.7), (0.35, 0.8))
        left, right, top = x - size, x + size, y - 1.6 * size
        _fill(draw, polygon((left, y), (right, y), (right, top), (left, top), colour=crate))
        _fill(draw, polygon((left, top), (right, top), (right + 0.5 * size, top - 0.4 * size), (left + 0.5 * size, top - 0.4 * size), colour=shaded(crate, 1.25)))
        _fill(draw, polygon((right, y), (right, top), (right + 0.5 * size, top - 0.4 * size), (right + 0.5 * size, y - 0.4 * size), colour=shaded(crate, 0.7)))


def _fill(draw: ImageDraw.ImageDraw, shape: Shape, outlined: bool = False) -> None:
    outline = shaded(shape.colour, 0.45) if outlined else None
    points = (shape.points * (SCENE_SIDE * _OVERSAMPLING)).ravel().tolist()
    draw.polygon(points, fill=shape.colour, outline=outline, width=2)


def _draw_things(canvas: Image.Image, things: list[_Thing]) -> None:
    draw = ImageDraw.Draw(canvas, "RGBA")
    side = SCENE_SIDE * _OVERSAMPLING
    for thing in things:
        if thing.foot:
            x, y, half = (side * value for value in thing.foot)
            draw.ellipse((x - half, y - 0.18 * half, x + half, y + 0.18 * half), fill=(20, 20, 35, 70))
        for shape in thing.shapes:
            _fill(draw, shape, thing.outlined)


def _photographed(rng: Generator, canvas: Image.Image) -> Image.Image:
    """Scale down, then light, tint and noise of a cheap camera."""
    pixels = np.asarray(canvas.reduce(_OVERSAMPLING), dtype=np.float32)
    gain = rng.uniform(0.75, 1.1) * rng.uniform(0.93, 1.07, size=3)
    noise = rng.uniform(1.0, 7.0) * rng.standard_normal((SCENE_SIDE, SCENE_SIDE, 1), dtype=np.float32)
    return Image.fromarray((pixels * gain + noise).clip(0, 255).astype(np.uint8))
