"""Speed of tagging files, beside the floor: reading the images and running the backbone, and nothing else."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sct_hf.benchmark.speed_pipeline import images_in
from sct_hf.export.engine import make_engine
from sct_hf.inference.items import Item, read_ahead
from sct_hf.inference.tagger import Tagger

FLOOR, MODEL = "floor", "torch"
_ROUND = 250  # images
_WARM = 32  # images before the clock starts

Run = Callable[[Sequence[str]], int]


def measure_tagging(
    folder: str | Path, model: str | Path, *, count: int, batch_size: int, engines: list[str]
) -> list[dict[str, Any]]:
    """Measure `Tagger.tag` with several engines, in turns with the floor, on the CPU.

    The floor is a loop by hand: threads decode and resize with Pillow, as many and as far ahead as the tagger's, while
    the checkpoint's backbone runs over batches. Head, thresholds and tags are left out.

    Args:
        folder: Folder of images, see `images_in`.
        model: A checkpoint of this package.
        count: Most images.
        batch_size: Images per batch.
        engines: "torch" and names of `sct_hf.export.engine.ENGINES`.

    Returns:
        A row for the floor and for each engine: images/s by the wall clock and by this process's time on the CPU, and
        the medians over rounds of the ratios of both to the floor.

    Raises:
        InputError: There is no image, or no such model or engine.
    """
    images = images_in(folder, count)
    paths = [images.encoded(index)["path"] for index in range(len(images))]
    runs: dict[str, Run] = {FLOOR: _floor(Tagger.from_pretrained(model, "cpu"), batch_size)}
    for name in engines:
        tagger = Tagger.from_pretrained(model, "cpu")
        tagger.engine = None if name == MODEL else make_engine(name, tagger.model)
        runs[name] = _tagging(tagger, batch_size)
    for run in runs.values():
        run(paths[:_WARM])
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    parts = list(_parts(paths, _ROUND))
    for number, part in enumerate(parts):
        names = list(runs)
        for name in names[number % len(names) :] + names[: number % len(names)]:  # each is first now and then
            before = (time.perf_counter(), time.process_time())
            assert runs[name](part) == len(part)
            after = (time.perf_counter(), time.process_time())
            seconds[name].append((after[0] - before[0], after[1] - before[1]))
    return [_row(name, parts, np.array(seconds[name]), np.array(seconds[FLOOR])) for name in runs]


def _row(name: str, parts: Sequence[Sequence[str]], times: np.ndarray, floor: np.ndarray) -> dict[str, Any]:
    """A row from seconds (R, 2) of each round, by the wall clock and of the CPU."""
    images = sum(map(len, parts))
    wall, cpu = times.sum(0)
    ratios = np.median(floor / times, axis=0)
    row: dict[str, Any] = {"tagging": name, "images": images, "threads": torch.get_num_threads()}
    row |= {"images_per_s": images / wall, "ratio_to_floor": float(ratios[0])}
    return row | {"images_per_cpu_s": images / cpu, "cpu_ratio_to_floor": float(ratios[1])}


def _tagging(tagger: Tagger, batch_size: int) -> Run:
    return lambda paths: sum(found.error is None for found in tagger.tag(paths, batch_size=batch_size))


def _floor(tagger: Tagger, batch_size: int) -> Run:
    config = tagger.model.config
    height, width = config.input_size
    mean, deviation = (np.float32(values) for values in (config.image_mean, config.image_std))
    backbone: Any = tagger.model.backbone

    def read(item: Item) -> torch.Tensor:
        with Image.open(item.name) as image:
            small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        pixels = (np.asarray(small, dtype=np.float32) / 255 - mean) / deviation  # (H, W, 3)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def run(paths: Sequence[str]) -> int:
        count = 0
        threads = min(batch_size, os.cpu_count() or 1)  # as the tagger
        read_images = read_ahead(map(Item.of, paths), read, threads=threads, most=2 * batch_size)
        with torch.inference_mode():
            for batch in _parts((tensor for _, tensor in read_images), batch_size):
                backbone(torch.stack(list(batch)))
                count += len(batch)
        return count

    return run


def _parts(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(values)
    while part := list(islice(rest, size)):
        yield part
