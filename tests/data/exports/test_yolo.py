import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from sct_hf.data import load_data
from sct_hf.data.problems import Problems
from sct_hf.data.registry import list_data

BOX = "0.5 0.5 0.3 0.2"


@pytest.fixture
def root(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    """As on https://docs.ultralytics.com/datasets/detect: a background without a file, one with an empty file."""
    for seed, name in enumerate(("a.png", "deep/b.jpg", "c.png", "d.png")):
        save_image(tmp_path / "set" / "images" / "train" / name, seed=seed)
    labels = tmp_path / "set" / "labels" / "train"
    (labels / "deep").mkdir(parents=True)
    (labels / "a.txt").write_text(f"0 {BOX}\n2 {BOX}\n\n0 {BOX}\n")
    (labels / "deep" / "b.txt").write_text("\ufeff2 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n", encoding="utf-8")
    (labels / "c.txt").write_text("")
    return tmp_path / "set"


WANTED = {
    **{"images/train/a.png": ({"dog", "traffic light"}, set()), "images/train/deep/b.jpg": ({"traffic light"}, set())},
    **{"images/train/c.png": (set(), set()), "images/train/d.png": (set(), set())},
}


def write(root: Path, **content: Any) -> Path:
    path = root / "data.yaml"
    path.write_text(yaml.safe_dump({"names": {0: "dog", 1: "cat", 2: "traffic light"}, **content}))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"path": ".", "train": "images/train"},
        {"path": "somewhere/else", "train": "images/train"},
        {"train": "../images/train", "nc": 3, "names": ["dog", "cat", "traffic light"]},
        {"train": ["images/train/deep", "list.txt"]},
        {"train": "list.txt"},
    ],
)
def test_every_way_to_name_a_split(root: Path, names_by_id: Callable[..., Any], content: dict[str, Any]) -> None:
    listed = [name for name in WANTED if "deep" not in name or content["train"] == "list.txt"]
    (root / "list.txt").write_text("./" + "\n".join(listed) + "\n")
    images = load_data("yolo", "train", files=write(root, **content))
    assert images.label_names == ["dog", "cat", "traffic light"]
    found = {name.removeprefix("./"): labels for name, labels in names_by_id(images).items()}
    assert found == WANTED
    assert load_data("yolo", "train", data_dir=root).targets().tolist() == images.targets().tolist()


def test_boxes_beside_the_images(root: Path) -> None:
    (root / "images").rename(root / "photos")
    (root / "labels" / "train" / "a.txt").rename(root / "photos" / "train" / "a.txt")
    images = load_data("yolo", "val", files=write(root, validation="photos"))
    assert images.targets().sum(axis=0).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("lines", "place", "words"),
    [
        (f"0 {BOX}\n3 {BOX}\n", "line 2", "class 3, but the 3 names are numbered from 0 to 2"),
        (f"-1 {BOX}\n", "line 1", "class -1"),
        (f"1.5 {BOX}\n", "line 1", "class 1.5"),
        (f"nan {BOX}\n", "line 1", "class nan"),
        ("0 0.5 0.5\n", "line 1", "'0 0.5 0.5'"),
        (f"dog {BOX}\n", "line 1", f"'dog {BOX}'"),
    ],
)
def test_wrong_boxes(root: Path, problems_of: Any, lines: str, place: str, words: str) -> None:
    file = root / "labels" / "train" / "a.txt"
    file.write_text(lines)
    (problem,) = problems_of("yolo", "train", files=write(root, train="images/train"))
    assert problem.place == f"{file}, {place}"
    assert problem.text.startswith(words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "no split 'train', only none"),
        ({"val": "images/train"}, "no split 'train', only val"),
        ({"train": "images/none"}, "split 'train' is 'images/none', but there is no"),
        ({"train": "images", "nc": 4}, "nc is 4, but there are 3 names"),
        ({"train": "images", "names": None}, "there are no names"),
        ({"train": "images", "names": {1: "dog", 2: "cat"}}, "names are numbered 1, 2"),
    ],
)
def test_wrong_yaml(root: Path, problems_of: Any, content: dict[str, Any], words: str) -> None:
    (problem,) = problems_of("yolo", "train", files=write(root, **content))
    assert problem.place == str(root / "data.yaml")
    assert problem.text.startswith(words)


def test_what_is_no_yaml(root: Path, problems_of: Any) -> None:
    (root / "data.yaml").write_text("train: images\nnames: [dog\n")
    (problem,) = problems_of("yolo", "train", data_dir=root)
    assert problem.place == f"{root / 'data.yaml'}, line 3"
    (root / "data.yaml").write_text("dog\n")
    (problem,) = problems_of("yolo", "train", data_dir=root)
    assert problem.kind == "wrong format"


def test_boxes_of_coco_in_this_format_are_read_as_coco_is(coco_dir: Path, tmp_path: Path) -> None:
    annotations = next((coco_dir / "annotations").glob("instances_*.json"))
    split = annotations.stem.removeprefix("instances_")
    content = json.loads(annotations.read_text())
    index_of = {category["id"]: index for index, category in enumerate(content["categories"])}
    (tmp_path / "images").symlink_to(coco_dir / split)
    (tmp_path / "labels").mkdir()
    name_of = {image["id"]: image["file_name"] for image in content["images"]}
    for annotation in content["annotations"]:
        file = (tmp_path / "labels" / name_of[annotation["image_id"]]).with_suffix(".txt")
        with open(file, "a") as stream:
            stream.write(f"{index_of[annotation['category_id']]} {BOX}\n")
    boxed = {annotation["image_id"] for annotation in content["annotations"]}
    listed = [f"images/{name}" for image_id, name in name_of.items() if image_id in boxed]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    write(tmp_path, train="list.txt", names=[category["name"] for category in content["categories"]])
    ours = load_data("yolo", "train", data_dir=tmp_path, skip_missing_images=True)
    coco = load_data("coco", split, data_dir=coco_dir, skip_missing_images=True)
    assert [Path(name).stem for name in ours.image_ids] == coco.image_ids
    order = [ours.label_names.index(name) for name in coco.label_names]
    assert ours.targets()[:, order].tolist() == coco.targets().tolist()


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("[NO, SE, ON]", ["NO", "SE", "ON"]),
        ("[1, 2.50, 2024-01-01]", ["1", "2.50", "2024-01-01"]),
        ("{'0': dog, '1': cat, '2': sofa}", ["dog", "cat", "sofa"]),
        ("{0: ' dog ', 2: sofa, 1: cat}", ["dog", "cat", "sofa"]),
    ],
)
@pytest.mark.parametrize("count", ["", "nc: 3", "nc: '3'"])
def test_names_are_taken_as_they_are_written(root: Path, names: str, found: list[str], count: str) -> None:
    (root / "data.yaml").write_text(f"train: images/train\n{count}\nnames: {names}\n")
    images = load_data("yolo", "train", data_dir=root)
    assert images.label_names == found
    assert images.targets().sum(axis=0).tolist() == [1, 0, 2]


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnopqrstuvwx"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: [dog, ~]", "a name is '~', which is nothing in YAML"),
        ("names: [dog, '']", "a label is empty"),
        ("names: [dog, [cat]]", "label \\['cat'\\] is a list"),
        ("names: [dog, dog]", "label 'dog' is declared twice"),
        (f"{BOMB}names: [dog, *x]", "holds more than 100000 values"),
        (f"{BOMB}names: [dog, cat]\nnc: *x", "holds more than 100000 values"),
        (f"{BOMB}names: [dog, cat, sofa]\ntrain: *x", "holds more than 100000 values"),
        ("names: [dog, cat, sofa]\ntrain: [images/train, {a: b}]", "holds an object"),
        ("? [a, b]\n: 1\nnames: [dog, cat]", "a key is no text"),
        ("[" * 100_000, "is not YAML"),
    ],
)
def test_odd_yaml_is_named_at_once(root: Path, problems_of: Any, text: str, words: str) -> None:
    (root / "data.yaml").write_text(text if "train:" in text else f"{text}\ntrain: images/train\n")
    problems = problems_of("yolo", "train", data_dir=root)
    assert re.search(words, problems[0].text)
    assert len(str(problems[0])) < 500


def test_files_that_are_not_read_are_noted(root: Path) -> None:
    (root / "images" / "train" / "e.heic").write_bytes(b"x")
    write(root, train="images\\train")
    problems = Problems()
    listing = list_data("yolo", "train", problems, data_dir=root)
    assert (len(listing.records), problems.found) == (4, [])
    assert "1 files are not read (1 .heic)" in listing.notes[0]
