"""Fixtures shared by all tests: where the real images lie, a tiny data set, and no network."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch
from PIL import Image

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 230), "white": (240, 240, 240)}
DATA = Path(os.environ.get("SCT_TEST_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()


@pytest.fixture(autouse=True)
def _one_number_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training computes in float32 on every CPU; a process can change its format only once."""
    monkeypatch.setattr("sct_hf.training.train_arguments.native_format", lambda: "no")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads of a tiny model only wait for each other, and for the suite's other processes."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


def _folder(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"real images are absent: no folder {name} in $SCT_TEST_DATA")
    return folder


@pytest.fixture
def voc_dir() -> Path:
    """VOCdevkit with VOC2007 trainval."""
    return _folder("VOCdevkit")


@pytest.fixture
def coco_dir() -> Path:
    """A few hundred COCO images with their instances files."""
    return _folder("coco_subset")


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl (30 images) and test.jsonl (11): coloured blocks on noise, one label a colour."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 11)):
        rows = []
        for number in range(count):
            pixels = rng.integers(0, 90, (40, 40, 3), dtype=np.uint8)
            labels = [name for name in COLOURS if rng.random() < 0.4]
            for place, name in enumerate(labels):
                pixels[10 * place : 10 * place + 9, 5:35] = COLOURS[name]
            Image.fromarray(pixels).save(folder / f"{split}-{number}.png")
            rows.append(json.dumps({"image": f"{split}-{number}.png", "labels": labels}))
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
