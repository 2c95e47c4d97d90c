from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sct_hf.data.assemble import marks_of
from sct_hf.data.base import LabelledImages
from sct_hf.data.image_sources import ImageFiles
from sct_hf.data.listing import Record


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """Write a small image of random pixels; the format follows the suffix."""

    def save(path: Path, *, size: tuple[int, int] = (40, 30), seed: int = 0) -> Path:
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return save


@pytest.fixture
def make_images(tmp_path: Path, save_image: Callable[..., Path]) -> Callable[..., LabelledImages]:
    """Build a data set of random PNG files from rows of (labels, unknown)."""

    def make(rows: list[tuple[list[str], list[str]]], names: list[str]) -> LabelledImages:
        paths = [save_image(tmp_path / "made" / f"{number}.png", seed=number) for number in range(len(rows))]
        records = [
            Record(f"row {number}", f"p{number}", path, labels, unknown)
            for number, (path, (labels, unknown)) in enumerate(zip(paths, rows, strict=True))
        ]
        ids = [record.image for record in records]
        return LabelledImages(ImageFiles(paths), marks_of(records, names), names, ids, "made", "train")

    return make
