"""Tiny models for the tests of the model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.model.fixtures import make_model, targets
from tests.model.tagging import save, save_text_encoder

__all__ = ["make_model", "targets"]


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    """A tiny text encoder."""
    return save_text_encoder(tmp_path_factory.mktemp("encoders") / "tiny-bert")


@pytest.fixture(scope="session")
def folders(bert, tmp_path_factory) -> dict[str, Path]:
    """A checkpoint of each kind of scorer, the one for any labels with a text encoder of its own."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {"linear": save(root / "linear", "linear", "random:12"), "label": save(root / "label", "label", str(bert))}


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> list[Path]:
    """Three image files of noise, the first of the model's size."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number, size in enumerate(((64, 64), (50, 90), (120, 70))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())
