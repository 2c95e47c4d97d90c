import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sct_hf.data import load_data
from sct_hf.data.problems import SplitError
from sct_hf.errors import InputError


@pytest.fixture
def tree(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    """Image 1 is a dog on a sofa, copied; 2 a dog and a cat, linked; 3 a cat that has the name of another sofa."""
    root = tmp_path / "tree"
    save_image(root / "dog" / "1.jpg", seed=1)
    save_image(root / "dog" / "inside" / "2.png", seed=2)
    save_image(root / "cat" / "3.png", seed=3)
    save_image(root / "sofa" / "3.png", seed=4)
    shutil.copy(root / "dog" / "1.jpg", root / "sofa" / "another name.jpg")
    os.symlink(root / "dog" / "inside" / "2.png", root / "cat" / "2.png")
    (root / "cat" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    return root


def labels_of(root: Path, split: str = "train") -> dict[str, list[str]]:
    images = load_data("labelfolders", split, data_dir=root)
    rows = [[images.label_names[column] for column in np.flatnonzero(row)] for row in images.targets()]
    return dict(zip(images.image_ids, rows, strict=True))


def test_a_image_has_the_labels_of_all_its_folders(tree: Path) -> None:
    assert labels_of(tree) == {
        "cat/2.png": ["cat", "dog"],
        "cat/3.png": ["cat"],
        "dog/1.jpg": ["dog", "sofa"],
        "sofa/3.png": ["sofa"],
    }


def test_splits_are_folders(tree: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        shutil.copytree(tree, tmp_path / "all" / split, symlinks=True)
    assert labels_of(tmp_path / "all", "val") == labels_of(tmp_path / "all") == labels_of(tree)
    shutil.rmtree(tmp_path / "all" / "train")
    with pytest.raises(SplitError, match="split is 'train', but there is no folder"):
        load_data("labelfolders", "train", data_dir=tmp_path / "all")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="create it, with one folder per label"):
        load_data("labelfolders", "train", data_dir=tmp_path / "absent")
