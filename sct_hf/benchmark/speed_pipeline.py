"""Speed of the input pipeline, and the time that training waits for images."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch.utils.data import DataLoader

from sct_hf.data import ImageDataset, LabelledImages, train_transform
from sct_hf.data.image_sources import ImageFiles
from sct_hf.errors import InputError
from sct_hf.factory import build_model
from sct_hf.inference.files import find_images
from sct_hf.label_text.encoders import encode_labels
from sct_hf.training.arguments import EvaluationDataArguments
from sct_hf.training.devices import make_accelerator
from sct_hf.training.evaluation import model_inputs
from sct_hf.training.loaders import make_loader
from sct_hf.training.waiting import TimedLoader

_LABELS = 20


def images_in(folder: str | Path, count: int) -> LabelledImages:
    """Gather up to `count` images of a folder and its subfolders, spread evenly over it, with no label present.

    Raises:
        InputError: There is no image.
    """
    found = find_images([folder]) if Path(folder).is_dir() else []
    if not found:
        raise InputError(f"images is {str(folder)!r}: give a folder with images")
    places = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    paths = [str(found[place]) for place in places]
    names = [f"label_{number}" for number in range(_LABELS)]
    marks = np.zeros((len(paths), _LABELS), dtype=np.int8)
    return LabelledImages(ImageFiles(paths), marks, names, [Path(path).stem for path in paths], "images", "train")


def measure_pipeline(
    folder: str | Path,
    *,
    device: str,
    backbone: str,
    pixels: int,
    count: int,
    batch_size: int,
    workers: list[int],
    heads: list[str],
    sct: dict[str, Any],
) -> list[dict[str, Any]]:
    """Measure the training loader alone, and epochs of training of a model with random weights.

    Args:
        folder: Folder of images, see `images_in`.
        device: Name of the device of the training steps.
        backbone: Name of a timm model.
        pixels: Side of its square images.
        count: Most images to read.
        batch_size: Images per batch.
        workers: Numbers of processes that load images.
        heads: "sct" or names of peer heads. With a lighter head, images take more of the time.
        sct: Fields of `SCTConfig` for "sct".

    Returns:
        A row for each number of workers: images/s of the loader in its second epoch, when its workers run; images/s
        of Pillow decoding the same files in this process, and the ratio of both; and for each head images/s of
        training in its second epoch, and the share of that time spent waiting for images (see `TimedLoader`).

    Raises:
        InputError: There is no image.
    """
    images = images_in(folder, count)
    threads = torch.get_num_threads()
    accelerator = make_accelerator(mixed_precision="no", cpu_threads=threads, seed=0, cpu=device == "cpu")
    transform = train_transform(pixels, [0.5] * 3, [0.5] * 3)
    dataset = ImageDataset(images, transform, draft_side=pixels)
    decode_rate = _decode_rate(images)
    rows = []
    for number in workers:
        row: dict[str, Any] = {"device": device, "backbone": backbone, "pixels": pixels, "batch_size": batch_size}
        row |= {"images": len(images), "workers": number}
        with _loader(dataset, number, batch_size, accelerator) as loader:
            rate = _second_epoch(loader, lambda batch: None)[0]
        row |= {"loader_images_per_s": rate, "decode_images_per_s": decode_rate, "ratio_to_decode": rate / decode_rate}
        for head in heads:
            step = _training_step(backbone, pixels, head, sct if head == "sct" else {}, accelerator)
            with _loader(dataset, number, batch_size, accelerator) as loader:
                rate, share = _second_epoch(loader, step)
            row |= {f"{head}_images_per_s": rate, f"{head}_wait_share": share}
        rows.append(row)
    accelerator.free_memory()
    return rows


@contextmanager
def _loader(
    dataset: ImageDataset, workers: int, batch_size: int, accelerator: Accelerator
) -> Iterator[DataLoader[Any]]:
    loader = make_loader(dataset, EvaluationDataArguments(num_workers=workers), batch_size, accelerator, shuffle=True)
    try:
        yield loader
    finally:
        del loader
        accelerator.free_memory()  # its workers end with it


def _second_epoch(loader: DataLoader[Any], step: Any) -> tuple[float, float]:
    """Images/s of the second epoch, and the share of its time spent waiting for images."""
    timed, images, seconds = TimedLoader(loader), 0, 0.0
    for epoch in range(2):
        loader.set_epoch(epoch)  # type: ignore[attr-defined]
        images, started = 0, time.perf_counter()
        timed.take_seconds()
        for batch in timed:
            step(batch)
            images += len(batch["index"])
        seconds = time.perf_counter() - started
    return images / seconds, timed.take_seconds() / seconds


def _training_step(backbone: str, pixels: int, head: str, options: dict[str, Any], accelerator: Accelerator) -> Any:
    names = [f"label_{number}" for number in range(_LABELS)]
    text = encode_labels(names, "random")
    model: Any = build_model(backbone, names, image_size=pixels, head=head, label_vectors=text, **options)
    model.to(accelerator.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(batch: dict[str, torch.Tensor]) -> None:
        model(**model_inputs(batch, channels_last=True)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if accelerator.device.type != "cpu":
            torch.accelerator.synchronize()  # so that waiting is not hidden behind work still under way

    return step


def _decode_rate(images: LabelledImages) -> float:
    paths = [images.encoded(index)["path"] for index in range(len(images))]
    for path in paths[:10]:
        _decode(path)
    started = time.perf_counter()
    for path in paths:
        _decode(path)
    return len(paths) / (time.perf_counter() - started)


def _decode(path: str) -> None:
    with Image.open(path) as image:
        image.load()
