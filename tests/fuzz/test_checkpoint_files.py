"""Damaged config.json and preprocessor_config.json of a checkpoint, as predict meets them."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sct_hf import (
    SCTConfig,
    SCTForMultiLabelClassification,
    SCTImageProcessor,
    build_model,
    encode_labels,
    image_processor,
)
from sct_hf.errors import InputError
from sct_hf.inference.tagger import Tagger
from tests.fuzz.judge import judge
from tests.fuzz.mutate import as_json, damaged_bytes, damaged_document
from tests.model.tiny import tiny_config

LABELS = ["dog", "cat", "dining table", "bus"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    text = encode_labels(LABELS, "random:12")
    fields = {"hidden_size": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "scorer": "label"}
    fields |= {"label_parents": {"cat": ["dog"]}}
    model = build_model("test_resnet", LABELS, image_size=32, label_vectors=text, **fields)
    model.config.thresholds = [0.5, 0.5, 0.25, 0.75]
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    image_processor(model.config).save_pretrained(folder)
    Image.new("RGB", (40, 30), "red").save(folder / "image.png")
    return folder


@pytest.mark.parametrize("damage", ["values", "bytes"])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_named_error_or_tags(
    name: str, damage: str, checkpoint: Path, tmp_path: Path, seeds: Callable[[int], range]
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    good = (checkpoint / name).read_bytes()

    def attempt(rng: random.Random) -> None:
        document = damaged_document(json.loads(good), rng)
        damaged = as_json(document, rng) if damage == "values" else damaged_bytes(good, rng)
        (folder / name).write_bytes(damaged)
        (tags,) = Tagger.from_pretrained(folder, "cpu").tag([folder / "image.png"], threshold=0)
        if tags.error is not None:
            raise InputError(tags.error)

    verdict = judge(attempt, (InputError,), seeds(20))
    assert not verdict.faults, verdict
    assert verdict.refused > 0


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_named_error_in_python(name: str, checkpoint: Path, tmp_path: Path, seeds: Callable[[int], range]) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    good = json.loads((checkpoint / name).read_bytes())
    load = SCTConfig.from_pretrained if name == "config.json" else SCTImageProcessor.from_pretrained

    def attempt(rng: random.Random) -> None:
        (folder / name).write_bytes(as_json(damaged_document(good, rng), rng))
        load(folder)

    verdict = judge(attempt, (ValueError, OSError), seeds(40))
    assert not verdict.faults, verdict
    assert verdict.refused > 0


def test_what_a_wrong_field_says(checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    good = json.loads((checkpoint / "config.json").read_text())
    for field, value, remedy in (("rho", "a", "give float | int"), ("rho", 7, r"give a number in \[0, 1\]")):
        (folder / "config.json").write_text(json.dumps(good | {field: value}))
        with pytest.raises(ValueError, match=rf"config.json: {field}={value!r} cannot be used: {remedy}"):
            SCTForMultiLabelClassification.from_pretrained(folder)


def test_numbers_of_other_kinds_are_taken(tmp_path: Path) -> None:
    config = tiny_config(
        image_mean=[0, 0, 0],
        image_std=np.ones(3, dtype=np.float32),
        rho=np.float32(0.25),
        hidden_size=np.int64(16),
        thresholds=(0, 1, np.float64(0.5)),
    )
    config.save_pretrained(tmp_path)
    loaded = SCTConfig.from_pretrained(tmp_path)
    assert loaded.image_mean == [0, 0, 0]
    assert loaded.image_std == [1, 1, 1]
    assert (loaded.rho, loaded.hidden_size, [*loaded.thresholds]) == (0.25, 16, [0, 1, 0.5])
    processor = SCTImageProcessor(size=(32, 48), image_mean=np.zeros(3), image_std=(1, 1, 1), rescale_factor=1 / 255)
    pixels = processor(Image.new("RGB", (9, 9), (255, 0, 51)), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 32, 48)
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([1, 0, 0.2])
