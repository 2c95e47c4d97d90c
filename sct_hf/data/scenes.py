"""Small rendered scenes: everyday objects on a textured ground, a data set that needs no download."""

import io
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, List, NamedSplit, Value
from datasets import Image as ImageFeature
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from numpy.random import Generator
from PIL import Image, ImageDraw

from sct_hf.data.boxes import BoxedImage
from sct_hf.data.image_sources import ImageColumn
from sct_hf.data.listing import Listing, Record
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.scene_grounds import landscape
from sct_hf.data.scene_objects import DRAWINGS
from sct_hf.data.scene_shapes import Shape, fill
from sct_hf.errors import InputError
from sct_hf.progress import step_bar

SCENE_LABELS: list[str] = list(DRAWINGS)
"""The 16 labels, in the order of the target columns."""

SCENE_SIDE = 128
"""Side of an image in pixels."""

SCENE_SIZES: dict[str, int] = {"train": 3000, "test": 1000}
"""The splits and their default numbers of images."""

_VERSION = 1
_LABELS = List(ClassLabel(names=SCENE_LABELS))
_FEATURES = Features({"image_id": Value("string"), "image": ImageFeature(), "labels": _LABELS, "unknown": _LABELS})
_OVERSAMPLING = 2
_MASK_SIDE = 64
_FEWEST, _CHUNK = 200, 20  # images that are worth a process; those it is given at a time
_LEAST_VISIBLE = 0.5
_LEAST_INSIDE = 0.7

_IN_SKY = {"balloon", "bird", "butterfly", "cloud", "sun"}
_ON_WATER = {"boat", "fish"}
_RELATIVE_SIZE = {
    "balloon": 1.1,
    "bird": 1.15,
    "cat": 1.1,
    "cloud": 1.3,
    "flower": 1.1,
    "house": 1.2,
    "mushroom": 0.9,
    "sun": 0.9,
    "tree": 1.25,
    "umbrella": 1.15,
}


@dataclass(frozen=True)
class _Thing:
    """An object: its polygons, first in its own box, after placement in units of the image's side.

    `foot` is its contact with ground or water, if any: x, y and half width.
    """

    label: int
    shapes: list[Shape]
    outlined: bool
    foot: tuple[float, float, float] | None = None


def scene_boxes(request: Request, problems: Problems) -> dict[str, BoxedImage]:
    """The boxes and masks of the visible objects of a split; arguments as in `list_scenes`."""
    return {
        _image_id(request.split, index): boxed_scene(request.seed or 0, request.split, index)
        for index in step_bar(range(_size(request)), desc="masks of scenes", unit="image")
    }


@register_reader(
    "scenes", title="Scenes rendered by sct_hf", takes=["size", "seed"], published=True, boxer=scene_boxes
)
def list_scenes(request: Request, problems: Problems) -> Listing:
    """Render a split, or load it from the cache of an earlier call.

    An image depends only on seed, split and its number: a smaller `size` gives the first images of a larger one.

    Args:
        request: The split, "train" or "test"; `size`, the number of images, by default 3000 and 1000; `seed`, by
            default 0; `cache_dir`, the folder of rendered splits, by default the cache of `datasets`.
        problems: Unused: scenes have no problems.

    Raises:
        InputError: The split is unknown, or `size` is below 1.
    """
    split, size = request.split, _size(request)
    with _own_bar():
        dataset = Dataset.from_generator(
            _encoded_scenes,
            features=_FEATURES,
            cache_dir=None if request.cache_dir is None else str(request.cache_dir),
            split=NamedSplit(split),
            gen_kwargs={"seed": request.seed or 0, "split": split, "size": size, "version": _VERSION},
        )
    records = [
        Record(f"scenes {split}, image {number}", image_id, None, [SCENE_LABELS[label] for label in labels])
        for number, (image_id, labels) in enumerate(zip(dataset["image_id"], dataset["labels"], strict=True))
    ]
    return Listing("scenes", records, label_names=list(SCENE_LABELS), images=ImageColumn(dataset), is_sound=True)


def _size(request: Request) -> int:
    split = request.split
    if split not in SCENE_SIZES:
        raise SplitError(split, f"scenes has {' and '.join(SCENE_SIZES)}")
    size = SCENE_SIZES[split] if request.size is None else request.size
    if size < 1:
        raise InputError(f"size is {size}: give at least 1 image")
    return size


def render_scene(seed: int, split: str, index: int) -> tuple[Image.Image, list[int]]:
    """Render one image.

    Returns:
        The RGB image, 128 px square, and the sorted indices into `SCENE_LABELS` of its objects. At least half of each
        object is visible.
    """
    rng = np.random.default_rng([seed, list(SCENE_SIZES).index(split), index])
    horizon, labels, things = _composed(rng)
    waters = [thing.foot for thing in things if thing.foot and SCENE_LABELS[thing.label] in _ON_WATER]
    canvas = landscape(rng, horizon, waters, SCENE_SIDE * _OVERSAMPLING)
    _draw_things(canvas, things)
    return _photographed(rng, canvas), sorted(int(label) for label in labels)


def boxed_scene(seed: int, split: str, index: int) -> BoxedImage:
    """The visible part of each object in an image of `render_scene`: its box, and the mask of its label.

    A pixel belongs to the object, or the ground, that covers most of it; shadows are ground.
    """
    rng = np.random.default_rng([seed, list(SCENE_SIZES).index(split), index])
    things = _composed(rng)[2]
    canvas = Image.new("L", (SCENE_SIDE * _OVERSAMPLING,) * 2)
    draw = ImageDraw.Draw(canvas)
    for number, thing in enumerate(things, start=1):
        for shape in thing.shapes:
            fill(draw, shape, outlined=thing.outlined, level=number)
    fine = np.asarray(canvas).reshape(SCENE_SIDE, _OVERSAMPLING, SCENE_SIDE, _OVERSAMPLING)
    shares = np.stack([(fine == number).sum(axis=(1, 3)) for number in range(len(things) + 1)])
    visible = shares.argmax(axis=0)  # (128, 128), the number of an object, 0 for the ground
    image = BoxedImage((SCENE_SIDE, SCENE_SIDE))
    for number, thing in enumerate(things, start=1):
        name, mask = SCENE_LABELS[thing.label], visible == number
        rows, columns = np.nonzero(mask)
        image.add(name, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), hard=False)
        image.masks[name] = mask | image.masks.get(name, False)
    return image


def _composed(rng: Generator) -> tuple[float, np.ndarray, list[_Thing]]:
    """The height of the horizon, the labels, and the objects from the back of a scene to its front."""
    horizon = rng.uniform(0.3, 0.6)
    count = int(rng.choice([2, 3, 4, 5], p=[0.2, 0.3, 0.3, 0.2]))
    labels = rng.choice(len(SCENE_LABELS), size=count, replace=False)
    twice = labels[: int(rng.random() < 0.25)]
    unplaced = [_thing(rng, int(label)) for label in (*labels, *twice)]
    things = _placed(rng, unplaced, horizon)
    while not _all_visible(things):
        things = _placed(rng, unplaced, horizon)
    return horizon, labels, things


def _encoded_scenes(seed: int, split: str, size: int, version: int) -> Iterator[dict[str, Any]]:
    """Rows in order, rendered by as many processes as the machine has CPUs for this one."""
    row = partial(_encoded_scene, seed, split)
    processes = min(_cpus(), size // _FEWEST)
    # Only a fork starts at once, and in programs without a main guard.
    if processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        yield from _with_total(map(row, range(size)), size)
        return
    with multiprocessing.get_context("fork").Pool(processes, _end_by_signals) as pool:
        yield from _with_total(pool.imap(row, range(size), chunksize=_CHUNK), size)
        pool.close()
        pool.join()


def _image_id(split: str, index: int) -> str:
    return f"{split}-{index:05d}"


def _end_by_signals() -> None:
    """Drop the handler of training, which a fork inherits: with it a process would outlive its pool."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _encoded_scene(seed: int, split: str, index: int) -> dict[str, Any]:
    scene, labels = render_scene(seed, split, index)
    buffer = io.BytesIO()
    scene.save(buffer, "PNG", compress_level=1)
    image = {"bytes": buffer.getvalue(), "path": None}
    return {"image_id": _image_id(split, index), "image": image, "labels": labels, "unknown": []}


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_total(rows: Iterable[dict[str, Any]], size: int) -> Iterator[dict[str, Any]]:
    return iter(step_bar(rows, total=size, desc="rendering scenes", unit="image"))


@contextmanager
def _own_bar() -> Iterator[None]:
    """Without the bar of `datasets`, which knows no total."""
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _thing(rng: Generator, label: int) -> _Thing:
    name = SCENE_LABELS[label]
    return _Thing(label, DRAWINGS[name](rng), outlined=name != "cloud" and rng.random() < 0.35)


def _placed(rng: Generator, unplaced: list[_Thing], horizon: float) -> list[_Thing]:
    """Place each object, and order them from the back of the scene to its front."""
    things: list[tuple[float, _Thing]] = []
    last: tuple[float, float] | None = None
    for thing in unplaced:
        name = SCENE_LABELS[thing.label]
        usual = _RELATIVE_SIZE.get(name, 1.0)
        if name in _IN_SKY:
            depth = -1.0 if name == "sun" else rng.uniform(-1, 0.4)
            size = usual * rng.uniform(0.14, 0.23)
            y = rng.uniform(0.5 * size, horizon + 0.08)
        else:
            depth = rng.random()
            size = usual * (0.14 + 0.09 * depth + rng.uniform(-0.015, 0.03))
            y = horizon + (0.97 - horizon) * depth
        x = rng.uniform(0.5 * size, 1 - 0.5 * size)
        if last is not None and rng.random() < 0.45:
            beside = last[0] + rng.choice([-1, 1]) * rng.uniform(0.5, 1.0) * (size + last[1])
            x = float(np.clip(beside, 0.5 * size, 1 - 0.5 * size))
        last = (x, size)
        things.append((depth, _at(rng, thing, x, y, size)))
    return [thing for _, thing in sorted(things, key=lambda pair: pair[0])]


def _at(rng: Generator, thing: _Thing, x: float, y: float, size: float) -> _Thing:
    """Scale, turn and mirror an object, and move it to x, y: its bottom if it stands, else its centre."""
    name = SCENE_LABELS[thing.label]
    standing = name not in _IN_SKY and name not in _ON_WATER
    swing = {"umbrella": 0.06, "fish": 0.08, "butterfly": 0.1, "bird": 0.05, "balloon": 0.05}.get(name, 0.02)
    angle = 2 * np.pi * rng.uniform(-swing, swing)
    wide, high = size * rng.uniform(0.85, 1.15, size=2)
    mirrored = rng.choice([-1.0, 1.0])
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([mirrored * wide, high])
    centre = np.array([x, y - 0.95 * high if standing else y])
    shapes = [Shape(shape.points @ matrix.T + centre, shape.colour) for shape in thing.shapes]
    foot = None if name in _IN_SKY else (x, y if standing else y + 0.55 * high, wide)
    return replace(thing, shapes=shapes, foot=foot)


def _all_visible(things: list[_Thing]) -> bool:
    """Whether enough of each object is inside the image and not covered by others."""
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


def _draw_things(canvas: Image.Image, things: list[_Thing]) -> None:
    draw = ImageDraw.Draw(canvas, "RGBA")
    for thing in things:
        if thing.foot:
            x, y, half = (canvas.width * value for value in thing.foot)
            draw.ellipse((x - half, y - 0.18 * half, x + half, y + 0.18 * half), fill=(20, 20, 35, 70))
        for shape in thing.shapes:
            fill(draw, shape, outlined=thing.outlined)


def _photographed(rng: Generator, canvas: Image.Image) -> Image.Image:
    """Scale down, then add the light, tint and noise of a cheap camera."""
    pixels = np.asarray(canvas.reduce(_OVERSAMPLING), dtype=np.float32)
    gain = rng.uniform(0.8, 1.1) * rng.uniform(0.93, 1.07, size=3)
    noise = rng.uniform(1.0, 5.0) * rng.standard_normal((SCENE_SIDE, SCENE_SIDE, 1), dtype=np.float32)
    return Image.fromarray((pixels * gain + noise).clip(0, 255).astype(np.uint8))
