"""A trained folder, and a Hub to publish it on."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import PIL
import pytest
import timm
import torch
import torchvision
import transformers
from huggingface_hub import constants
from PIL import Image

from sct_hf.training.loop import train
from sct_hf.training.parsing import parse
from tests.hub.stand_in import OWNER, Hub, running
from tests.words import command_words


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    """The folder of a finished run of SCT on images of coloured blocks."""
    folder = tmp_path_factory.mktemp("runs") / "colours"
    options = {
        **{"dataset": "jsonl", "data_dir": table, "num_workers": 0, "backbone": "test_resnet", "image_size": 32},
        **{"backbone_weights": "none", "label_encoder": "random:8", "hidden_size": 16, "encoder_ffn_dim": 16},
        **{"encoder_attention_heads": 2, "epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "ema_decay": 0.9},
        **{"report_to": "none", "figures": False, "cpu_threads": 1, "holdout": 0.2, "output_dir": folder},
        "allow_unlabelled": True,
    }
    train(parse(command_words(options)))
    return folder


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every installed package but this one, for processes with -S, which keeps out what .pth files add."""
    packages = tmp_path_factory.mktemp("packages")
    for site in {Path(module.__path__[0]).parent for module in (PIL, huggingface_hub, timm, torch, transformers)}:
        for path in site.iterdir():
            if "sct_hf" not in path.name and path.suffix != ".pth":
                (packages / path.name).symlink_to(path)
    assert Path(torchvision.__path__[0]).name in {path.name for path in packages.iterdir()}
    return packages


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(trained, tmp_path / "colours"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of noise."""
    path = tmp_path_factory.mktemp("images") / "noise.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def talk_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hub], None]:
    """Let this process talk to a Hub."""

    def use(hub: Hub) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between attempts
        monkeypatch.setenv("HF_TOKEN", OWNER)

    return use
