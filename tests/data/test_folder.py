import json
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import load_dataset

from sct_hf.data import load_data
from sct_hf.data.problems import SplitError
from sct_hf.errors import InputError

LINES = {"train": [("a.png", ["cat", "bee"]), ("b.png", [])], "test": [("c.png", ["bee"])]}


@pytest.fixture
def root(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    for seed, (split, lines) in enumerate(LINES.items()):
        for name, _ in lines:
            save_image(tmp_path / "data" / split / name, seed=seed)
    return tmp_path / "data"


def write(path: Path, lines: list[tuple[str, list[str]]]) -> None:
    path.write_text("\n".join(json.dumps({"file_name": name, "labels": labels}) for name, labels in lines))


def test_metadata_of_each_split_as_the_imagefolder_of_datasets_reads_it(root: Path, tmp_path: Path) -> None:
    for split, lines in LINES.items():
        write(root / split / "metadata.jsonl", lines)
    theirs = load_dataset("imagefolder", data_dir=str(root), split="train", cache_dir=str(tmp_path / "cache"))
    ours = load_data("imagefolder", "train", data_dir=root)
    assert ours.label_names == ["bee", "cat"]
    shown = [[name for name, mark in zip(ours.label_names, row, strict=True) if mark == 1] for row in ours.targets()]
    assert shown == [sorted(row) for row in theirs["labels"]]
    found = [ours.image(row).tobytes() for row in range(len(ours))]
    assert found == [image.tobytes() for image in theirs["image"]]


def test_one_metadata_file_for_all_splits(root: Path) -> None:
    write(root / "metadata.jsonl", [(f"{split}/{name}", labels) for split in LINES for name, labels in LINES[split]])
    options = {"data_dir": root, "label_names": ["bee", "cat"]}
    assert load_data("imagefolder", "train", **options).image_ids == ["train/a.png", "train/b.png"]
    assert load_data("imagefolder", "test", **options).targets().tolist() == [[1, 0]]
    with pytest.raises(SplitError, match="split is 'val', but no path in"):
        load_data("imagefolder", "val", **options)


def test_test_images_are_not_taken_for_training(root: Path) -> None:
    write(root / "metadata.jsonl", [("test/c.png", ["bee", "cat"])])
    with pytest.raises(SplitError, match="split is 'train', but no path"):
        load_data("imagefolder", "train", data_dir=root)


def test_a_flat_folder_is_all_training(root: Path) -> None:
    (root / "train" / "metadata.csv").write_text("file_name,labels\na.png,cat|bee\nb.png,\n")
    images = load_data("imagefolder", "train", data_dir=root / "train")
    assert images.targets().tolist() == [[1, 1], [0, 0]]


def test_no_metadata(root: Path) -> None:
    with pytest.raises(InputError, match=r"has metadata.jsonl or metadata.csv: write one with lines such as"):
        load_data("imagefolder", "train", data_dir=root)


def test_a_path_that_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "./", "labels": ["cat"]}\n')
    with pytest.raises(InputError, match="missing or broken"):
        load_data("imagefolder", "train", data_dir=tmp_path, label_names=["cat", "dog"])
