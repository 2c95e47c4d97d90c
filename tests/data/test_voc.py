from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from sct_hf.data import load_data
from sct_hf.data.problems import DataError, SplitError
from sct_hf.data.voc import VOC_LABELS
from sct_hf.errors import InputError
from sct_hf.training.arguments import DataArguments
from sct_hf.training.data_checks import check_run_data

# Numbers of images a class in the development kit's documentation (VOC2007, Table 1), aeroplane to tvmonitor.
TRAIN_COUNTS = [112, 116, 180, 81, 139, 97, 376, 163, 224, 69, 97, 203, 139, 120, 1025, 133, 48, 111, 127, 128]
VAL_COUNTS = [126, 127, 150, 100, 105, 89, 337, 174, 221, 72, 103, 218, 148, 125, 983, 112, 48, 118, 134, 128]


def objects(voc_dir: Path, image_id: str) -> list[tuple[str, bool]]:
    root = ElementTree.parse(voc_dir / "VOC2007" / "Annotations" / f"{image_id}.xml").getroot()
    return [(item.findtext("name", ""), item.findtext("difficult") == "1") for item in root.iter("object")]


@pytest.mark.parametrize(("split", "counts"), [("train", TRAIN_COUNTS), ("val", VAL_COUNTS)])
def test_counts_are_the_published_ones(voc_dir: Path, split: str, counts: list[int]) -> None:
    images = load_data("voc2007", split, data_dir=voc_dir, skip_missing_images=True)
    found = (images.targets() == 1).sum(axis=0)
    for image_id in images.skipped:
        found += [any(pair == (label, False) for pair in objects(voc_dir, image_id)) for label in VOC_LABELS]
    assert dict(zip(VOC_LABELS, found.tolist(), strict=True)) == dict(zip(VOC_LABELS, counts, strict=True))


def test_difficult_objects_are_unknown_or_negative(voc_dir: Path) -> None:
    ignore, negative = (
        load_data("voc2007", "val", data_dir=voc_dir, skip_missing_images=True, difficult=choice)
        for choice in ("ignore", "negative")
    )
    targets = ignore.targets()
    unknown = targets == -1
    assert unknown.sum() > 100
    assert (negative.targets() == np.where(unknown, 0, targets)).all()
    for row, image_id in list(enumerate(ignore.image_ids))[::25]:
        there = objects(voc_dir, image_id)
        for column, label in enumerate(VOC_LABELS):
            expected = 1 if (label, False) in there else -1 if (label, True) in there else 0
            assert targets[row, column] == expected, (image_id, label)


def test_missing_images_are_named(voc_dir: Path) -> None:
    with pytest.raises(InputError, match=r"2 of 2510 images .* first 005042 at .*005042.jpg \(missing\); 007284"):
        load_data("voc2007", "val", data_dir=voc_dir)


@pytest.fixture
def small(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    """A VOC2012 of three images: a: cat and a difficult dog; b: difficult and plain car; c: nothing."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    contents = {"a": [("cat", 0), ("dog", 1)], "b": [("car", 1), ("car", 0)], "c": []}
    main = root / "ImageSets" / "Main"
    for folder in (main, root / "Annotations"):
        folder.mkdir(parents=True)
    for name, things in contents.items():
        save_image(root / "JPEGImages" / f"{name}.jpg")
        found = "".join(f"<object><name>{n}</name><difficult>{d}</difficult></object>" for n, d in things)
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{found}</annotation>")
    (main / "train.txt").write_text("a\nb\nc\n")
    (main / "mine.txt").write_text("c\na\n")
    marks = {"cat": "1 -1 -1", "dog": "0 -1 -1", "car": "-1 1 -1"}
    for label in VOC_LABELS:
        values = marks.get(label, "-1 -1 -1").split()
        (main / f"{label}_train.txt").write_text("".join(f"{n} {v:>2}\n" for n, v in zip("abc", values, strict=True)))
    return tmp_path


@pytest.mark.parametrize("inner", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_folder_is_found(small: Path, inner: str) -> None:
    images = load_data("voc2012", "train", data_dir=small / inner, difficult="ignore")
    shown, unknown = (
        [[VOC_LABELS[k] for k in np.flatnonzero(row == mark)] for row in images.targets()] for mark in (1, -1)
    )
    assert shown == [["cat"], ["car"], []]
    assert unknown == [["dog"], [], []]
    assert (images.name, images.split, images.label_names) == ("voc2012", "train", VOC_LABELS)


def test_a_list_without_label_files_takes_the_annotations(small: Path) -> None:
    mine = load_data("voc2012", "mine", data_dir=small, difficult="ignore")
    train = load_data("voc2012", "train", data_dir=small, difficult="ignore")
    assert mine.image_ids == ["c", "a"]
    assert (mine.targets() == train.targets()[[2, 0]]).all()


def test_faults_of_the_folder_are_named(small: Path) -> None:
    main = small / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main"
    with pytest.raises(InputError, match="holds no VOC2007/ImageSets/Main"):
        load_data("voc2007", "train", data_dir=small)
    with pytest.raises(InputError, match=r"holds no VOC2007/ImageSets/Main"):
        load_data("voc2007", "train", data_dir=small / "VOCdevkit" / "VOC2012")
    with pytest.raises(SplitError, match=r"split is 'test', .* splits found: mine, train"):
        load_data("voc2012", "test", data_dir=small)
    with pytest.raises(InputError, match="difficult is 'maybe'"):
        load_data("voc2012", "train", data_dir=small, difficult="maybe")
    (main / "dog_train.txt").write_text("a 0\nb -1\n")
    with pytest.raises(
        InputError, match=r"dog_train.txt: it does not give each image of train.txt one of 1, 0, -1: c has none"
    ):
        load_data("voc2012", "train", data_dir=small)
    (main / "dog_train.txt").unlink()
    with pytest.raises(InputError, match=r"ImageSets/Main: it lacks dog_train.txt"):
        load_data("voc2012", "train", data_dir=small)
    annotation = small / "VOCdevkit" / "VOC2012" / "Annotations" / "a.xml"
    annotation.write_text("<annotation><object><name>yeti</name></object></annotation>")
    with pytest.raises(InputError, match=r"object 'yeti' in a.xml is none of the 20 labels .*: give --dataset voc,"):
        load_data("voc2012", "mine", data_dir=small)
    annotation.write_text("<annotation>")
    with pytest.raises(InputError, match="cannot be read"):
        load_data("voc2012", "mine", data_dir=small)


def test_wrong_lines_of_label_files_are_told_by_line(small: Path) -> None:
    main = small / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main"
    (main / "dog_train.txt").write_text("a 0\nb 7\nx 1\nc -1\na 1\n")
    (main / "cat_train.txt").write_bytes(b"a 1\nb -1\n\xff -1\n")
    with pytest.raises(DataError) as caught:
        load_data("voc2012", "train", data_dir=small)
    places = [problem.place.removeprefix(f"{main}/") for problem in caught.value.problems]
    lines = [f"dog_train.txt, line {line}" for line in (2, 3, 5)]
    assert places == ["cat_train.txt", "cat_train.txt, line 3", "dog_train.txt", *lines]


def test_missing_and_repeated_images_are_told_by_line(small: Path) -> None:
    root = small / "VOCdevkit" / "VOC2012"
    (root / "JPEGImages" / "b.jpg").unlink()
    (root / "JPEGImages" / "c.jpg").write_bytes(b"broken")
    (root / "ImageSets" / "Main" / "mine.txt").write_text("a\n\nb\nc\na\n")
    data = DataArguments(dataset="voc2012", data_dir=str(small), train_split="mine", eval_split="held_out")
    with pytest.raises(DataError) as caught:
        check_run_data(data)
    found = [(problem.kind, problem.place.rpartition(", ")[2]) for problem in caught.value.problems]
    assert found == [("missing image", "line 3"), ("broken image", "line 4"), ("image listed twice", "line 5")]
