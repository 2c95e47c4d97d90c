"""A tiny checkpoint, images, and one export of it in every format."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sct_hf import build_model, encode_labels, image_processor
from sct_hf.export.web_runtime import VERSION
from sct_hf_cli import run
from tests.export.tiny import CALIBRATION, LABELS, PROFILES, RUNTIME_FILES


@pytest.fixture(scope="session")
def script() -> Callable[..., int]:
    """`main` of scripts/export.py, on words of a command line."""
    return lambda *words: run("export", *map(str, words))


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Save a tiny model with a threshold for each label."""

    def make(backbone: str, head: str = "sct", **fields: Any) -> Path:
        torch.manual_seed(0)
        text = encode_labels(LABELS, "random:12")
        sct = {"hidden_size": 32, "encoder_attention_heads": 4, "encoder_ffn_dim": 48} if head == "sct" else {}
        model = build_model(backbone, LABELS, image_size=64, head=head, label_vectors=text, **sct, **fields)
        model(torch.randn(4, 3, 64, 64))  # moves the running statistics off 0 and 1
        model.config.calibration = CALIBRATION
        model.config.thresholds = PROFILES
        folder = tmp_path_factory.mktemp(backbone) / "checkpoint"
        model.save_pretrained(folder)
        image_processor(model.config).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """A convolutional network's, whose labels have a parent."""
    return make_checkpoint("test_resnet", label_parents={"cat": ["dog"], "dining table": ["dog"]})


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six images: three of the model's size, three larger."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(6):
        size = (64, 64) if number < 3 else (90 + number, 120)
        ramp = np.linspace(0, 200, size[1])[None, :, None] + rng.uniform(0, 55, (*size, 3))
        Image.fromarray(ramp.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def web_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for the unpacked npm package onnxruntime-web, which runs nothing."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "dist").mkdir()
    for name in (*RUNTIME_FILES, "ort.webgl.js"):
        (folder / "dist" / name).write_text(name)
    (folder / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": VERSION}))
    return folder


@pytest.fixture(scope="session")
def exported(
    script: Callable[..., int],
    checkpoint: Path,
    images: Path,
    web_package: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of an export with maps and int8, in all formats whose packages are there."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exports") / "all"
    formats = ["onnx", "torch_export", "browser", *(["openvino"] if importlib.util.find_spec("openvino") else [])]
    words = [
        "--maps",
        "--int8",
        "--calibration_images",
        images,
        "--calibration_count",
        5,
        "--web_runtime",
        web_package,
    ]
    assert script("--model", checkpoint, "--output_dir", folder, "--format", *formats, *words) == 0
    return folder
