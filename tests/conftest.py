"""Fixtures shared by all tests: where the real pictures lie, and no network."""

import os
from pathlib import Path

# Before torch is imported: several threads of a tiny model only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

DATA = Path(os.environ.get("SCT_TEST_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()


def _folder(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"real pictures are absent: no folder {name} in $SCT_TEST_DATA")
    return folder


@pytest.fixture
def voc_dir() -> Path:
    """VOCdevkit with VOC2007 trainval."""
    return _folder("VOCdevkit")


@pytest.fixture
def coco_dir() -> Path:
    """A few hundred COCO pictures with their instances files."""
    return _folder("coco_subset")
