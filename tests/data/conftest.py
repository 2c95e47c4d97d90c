from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image

from sct_hf.data.base import LabelledImages, features_for


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
        columns = {
            "image_id": [f"p{number}" for number in range(len(rows))],
            "image": [str(path) for path in paths],
            "labels": [labels for labels, _ in rows],
            "unknown": [unknown for _, unknown in rows],
        }
        return LabelledImages(Dataset.from_dict(columns, features=features_for(names)), "made", "train")

    return make
