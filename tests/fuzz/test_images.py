"""Damaged images, through predict and through the check before training: each is used, or named with its fault."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sct_hf import build_model, encode_labels, image_processor
from sct_hf.inference.tagger import Tagger
from tests.fuzz.commands import RefusedError, run_command
from tests.fuzz.judge import judge
from tests.fuzz.mutate import damaged_bytes

LABELS = ["dog", "cat"]
EXIF = 0x0112  # orientation


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    torch.manual_seed(0)
    fields = {"hidden_size": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}
    model = build_model(
        "test_resnet", LABELS, image_size=32, label_vectors=encode_labels(LABELS, "random:12"), **fields
    ).eval()
    return Tagger(model, image_processor(model.config))


def _encoded(ending: str, folder: Path) -> bytes:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[EXIF] = 6
    image.save(folder / f"sound.{ending}", exif=exif)
    return (folder / f"sound.{ending}").read_bytes()


ENDINGS = pytest.mark.parametrize("ending", ["jpg", "png", "webp", "gif"])


@ENDINGS
def test_tags_or_a_fault(ending: str, tagger: Tagger, tmp_path: Path, seeds: Callable[[int], range]) -> None:
    good, file = _encoded(ending, tmp_path), tmp_path / f"damaged.{ending}"

    def attempt(rng: random.Random) -> None:
        file.write_bytes(damaged_bytes(good, rng))
        (tags,) = tagger.tag([file], threshold=0)
        if tags.error is not None:
            raise RefusedError(tags.error)

    verdict = judge(attempt, (RefusedError,), seeds(40))
    assert not verdict.faults, verdict
    assert verdict.refused > 0


@ENDINGS
def test_the_check_names_it(ending: str, tmp_path: Path, seeds: Callable[[int], range]) -> None:
    good, file = _encoded(ending, tmp_path), tmp_path / f"damaged.{ending}"
    rows = [f"sound.{ending},dog", f"damaged.{ending},cat|dog"]
    (tmp_path / "train.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    words = ["--dataset", "csv", "--train_file", tmp_path / "train.csv", "--data_dir", tmp_path, "--holdout", "0.5"]
    words += ["--eval_split", "held_out", "--plot", tmp_path / "labels.png"]

    def attempt(rng: random.Random) -> None:
        file.write_bytes(damaged_bytes(good, rng))
        run_command("check", *words)

    verdict = judge(attempt, (RefusedError,), seeds(3))
    assert not verdict.faults, verdict
    assert verdict.refused > 0
