"""Masks are functions of names and seed alone, hide both signs alike, and survive a CSV file."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from sct_hf.data import LabelledImages, load_data
from sct_hf.data.image_sources import ImageColumn, ImageFiles
from sct_hf.data.masks import hide_labels, known_entries, single_positives
from sct_hf.data.write_csv import write_csv
from sct_hf.errors import InputError

NAMES = [f"{number:06d}" for number in range(2000)]
LABELS = ["bird", "cat", "dog", "potted plant", "sofa"]


def mask(names: list[str] = NAMES, labels: list[str] = LABELS, **options: object) -> np.ndarray:
    defaults: dict = {"split": "train", "proportion": 0.3, "seed": 0}
    return known_entries(names, labels, **(defaults | options))


def test_an_entry_depends_on_its_names_seed_split_and_proportion_alone() -> None:
    whole = mask()
    order = np.random.default_rng(1).permutation(len(NAMES))[:700]
    np.testing.assert_array_equal(mask([NAMES[row] for row in order]), whole[order])
    np.testing.assert_array_equal(mask(labels=[*LABELS[::-1], "train"])[:, :5], whole[:, ::-1])
    for other in ({"seed": 1}, {"split": "trainval"}):
        agreement = (mask(**other) == whole).mean()
        assert agreement == pytest.approx(0.3**2 + 0.7**2, abs=0.02)  # as of two independent masks
    assert (whole <= mask(proportion=0.5)).all()
    assert mask(proportion=1.0).all()


def test_the_mask_is_the_same_for_ever() -> None:
    """Worked from the definition, in integers of Python."""

    def digest(text: str) -> int:
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

    for name, label in (("000005", "dog"), ("000012", "potted plant"), ("000017", "sofa")):
        z = digest(f"3/val/{name}") ^ digest(f"label/{label}")
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        number = (z ^ z >> 31) / 2**64
        for proportion in (number - 1e-6, number + 1e-6):
            known = known_entries([name], [label], split="val", proportion=proportion, seed=3)
            assert known.item() == (number < proportion)


@pytest.mark.parametrize("proportion", [0.1, 0.5, 0.9])
def test_entries_are_drawn_alike_and_apart(proportion: float) -> None:
    known = mask(proportion=proportion)
    error = (proportion * (1 - proportion) / len(NAMES)) ** 0.5
    np.testing.assert_allclose(known.mean(axis=0), proportion, atol=4 * error)
    correlations = np.corrcoef(known.T) - np.eye(len(LABELS))
    assert np.abs(correlations).max() < 4 / len(NAMES) ** 0.5
    # The number of known labels of an image is binomial.
    variance = len(LABELS) * proportion * (1 - proportion)
    assert known.sum(axis=1).var() == pytest.approx(variance, rel=0.2)


def test_single_positives_are_one_a_image_each_alike() -> None:
    targets = np.tile(np.array([[1, 0, 1, 1, -1], [0, 0, 0, -1, 0]], dtype=np.float32), (1000, 1))
    known = single_positives(targets, NAMES, LABELS, split="train", seed=0)
    assert known.sum(axis=1).tolist() == [1, 0] * 1000
    assert (targets[known] == 1).all()
    np.testing.assert_allclose(known[0::2].sum(axis=0)[[0, 2, 3]], 1000 / 3, atol=4 * (1000 * 2 / 9) ** 0.5)
    some = slice(100, 300)
    np.testing.assert_array_equal(
        single_positives(targets[some], NAMES[some], LABELS, split="train", seed=0), known[some]
    )


@pytest.fixture
def images(table: Path) -> LabelledImages:
    return load_data("jsonl", "train", data_dir=table)


def test_hiding_leaves_what_is_known_and_what_was_unknown(images: LabelledImages) -> None:
    before = images.targets()
    partly = images.with_unknown(np.arange(before.size).reshape(before.shape) % 7 == 0)
    after = hide_labels(partly, split="train", proportion=0.5, single_positive=False, seed=0)
    known = known_entries(images.image_ids, images.label_names, split="train", proportion=0.5, seed=0)
    expected = np.where(known & (partly.targets() >= 0), before, -1)
    np.testing.assert_array_equal(after.targets(), expected)
    assert 0 < (expected >= 0).sum() < (partly.targets() >= 0).sum()
    assert after.image_ids == images.image_ids
    assert after.label_names == images.label_names
    assert hide_labels(partly, split="train", proportion=1.0, single_positive=False, seed=0) is partly
    single = hide_labels(images, split="train", proportion=1.0, single_positive=True, seed=0).targets()
    assert set(np.unique(single)) == {-1, 1}
    assert (single == 1).sum(axis=1).tolist() == before.any(axis=1).astype(int).tolist()


@pytest.mark.parametrize("place", ["beside", "elsewhere"])
def test_a_csv_file_is_read_back(images: LabelledImages, table: Path, tmp_path: Path, place: str) -> None:
    hidden = hide_labels(images, split="train", proportion=0.4, single_positive=False, seed=0)
    path = (table if place == "beside" else tmp_path) / "known, half.csv"
    write_csv(hidden, path)
    back = load_data("csv", "train", files=str(path))
    assert back.label_names == sorted(images.label_names) == images.label_names
    np.testing.assert_array_equal(back.targets(), hidden.targets())
    assert [Path(name).name for name in back.image_ids] == [Path(name).name for name in images.image_ids]
    assert all(Path(name).is_absolute() == (place == "elsewhere") for name in back.image_ids)
    assert back.image(3).tobytes() == images.image(3).tobytes()


def test_names_with_separators_are_read_back(table: Path, tmp_path: Path) -> None:
    labels = ["cat, or dog", 'a "quoted" one', "plain"]
    marks = np.array([[1, 1, -1]], dtype=np.int8)
    source = ImageFiles([table / "train-0.png"])
    write_csv(LabelledImages(source, marks, labels, ["one"], "odd", "train"), tmp_path / "t.csv")
    back = load_data("csv", "train", files=str(tmp_path / "t.csv"))
    targets = dict(zip(back.label_names, back.targets()[0].tolist(), strict=True))
    assert targets == {"cat, or dog": 1, 'a "quoted" one': 1, "plain": -1}


def test_no_cell_is_a_formula(table: Path, tmp_path: Path) -> None:
    names = ["=a.png", "+b.png", "-c.png", "@d.png", "plain.png"]
    for name in names:
        (tmp_path / name).write_bytes((table / "train-0.png").read_bytes())
    labels, marks = ["+cmd", "=1+1"], np.ones((5, 2), dtype=np.int8)
    images = LabelledImages(ImageFiles([tmp_path / name for name in names]), marks, labels, names, "odd", "train")
    write_csv(images, tmp_path / "t.csv")
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))]
    back = load_data("csv", "train", files=str(tmp_path / "t.csv"))
    assert [Path(name).name for name in back.image_ids] == names
    assert back.label_names == labels
    assert back.image(0).size == images.image(0).size


def test_images_without_files_cannot_be_named(tmp_path: Path) -> None:
    column = Dataset.from_dict({"image": [Image.new("RGB", (4, 4))]}, features=Features(image=ImageFeature()))
    marks = np.array([[1, 0]], dtype=np.int8)
    images = LabelledImages(ImageColumn(column), marks, ["a", "b"], ["one"], "bytes", "train")
    with pytest.raises(InputError, match="image 'one' of data set 'bytes' has no file"):
        write_csv(images, tmp_path / "t.csv")
