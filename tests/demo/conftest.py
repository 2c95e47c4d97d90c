"""Tiny checkpoints to look at, and an image."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sct_hf import MultiLabelImageClassificationPipeline, build_model, encode_labels, image_processor
from sct_hf.inference.tagger import Tagger
from tests.demo.tiny import LABELS, THRESHOLDS

KINDS: dict[str, dict[str, Any]] = {
    "label": {"scorer": "label", "hidden_size": 32},
    "linear": {"hidden_size": 32},
    "peer": {"head": "csra"},
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checkpoints of scorer="label" and "linear", and of a peer head."""
    made = {}
    for kind, fields in KINDS.items():
        torch.manual_seed(3)
        text = encode_labels(LABELS, "random:12")
        model = build_model("test_resnet", LABELS, image_size=64, label_vectors=text, **fields)
        model(torch.randn(8, 3, 64, 64))  # moves the running statistics off 0 and 1
        if kind == "label":
            model.config.thresholds = THRESHOLDS
        folder = tmp_path_factory.mktemp(kind)
        model.save_pretrained(folder)
        image_processor(model.config).save_pretrained(folder)
        made[kind] = str(folder)
    return made


@pytest.fixture(scope="session")
def taggers(folders: dict[str, str]) -> dict[str, MultiLabelImageClassificationPipeline]:
    """Their pipelines."""
    loaded = {kind: Tagger.from_pretrained(folder, "cpu") for kind, folder in folders.items()}
    return {
        kind: MultiLabelImageClassificationPipeline(
            model=tagger.model, image_processor=tagger.processor, device=torch.device("cpu")
        )
        for kind, tagger in loaded.items()
    }


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of noise that is brighter to the right, 90 × 60."""
    noise = np.random.default_rng(0).integers(0, 130, (60, 90, 3)) + np.linspace(0, 120, 90)[:, None]
    path = tmp_path_factory.mktemp("images") / "noise.png"
    Image.fromarray(noise.astype(np.uint8)).save(path)
    return str(path)


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file that only begins like an image."""
    path = tmp_path_factory.mktemp("images") / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 and nothing more")
    return str(path)
