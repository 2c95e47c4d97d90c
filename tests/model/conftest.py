"""Tiny models for the tests of the model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel, BertTokenizerFast

from tests.model.fixtures import make_model, targets
from tests.model.tagging import save

__all__ = ["make_model", "targets"]


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    """A tiny text encoder."""
    folder = tmp_path_factory.mktemp("encoders") / "tiny-bert"
    torch.manual_seed(0)
    words = "[PAD] [UNK] [CLS] [SEP] a dog cat dining table boat sheep wild horse".split()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
    BertTokenizerFast(vocab={word: index for index, word in enumerate(words)}).save_pretrained(folder)
    return folder


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
