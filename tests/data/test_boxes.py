"""Boxes of VOC and COCO: in which pixels, which are left out, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from sct_hf.data.boxes import BoxedImage
from sct_hf.data.problems import DataError, Problems
from sct_hf.data.registry import list_boxes, list_data
from sct_hf.errors import InputError


def read(dataset: str, split: str, folder: Path) -> dict[str, BoxedImage]:
    problems = Problems()
    found = list_boxes(dataset, split, problems, data_dir=folder)
    problems.raise_if_any()
    return found


def listed(found: dict[str, BoxedImage], image_id: str, label: str) -> list[list[float]] | None:
    boxes = found[image_id].of(label)
    return None if boxes is None else boxes.tolist()


def voc_object(name: str, box: tuple[Any, ...], difficult: int = 0, more: str = "") -> str:
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult>{more}<bndbox>{corners}</bndbox></object>"


@pytest.fixture
def voc(tmp_path: Path) -> Callable[..., Path]:
    def write(*objects: str, size: str = "<width>50</width><height>40</height>") -> Path:
        root = tmp_path / "VOC2012"
        for folder in ("ImageSets/Main", "Annotations"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main" / "val.txt").write_text("a\n")
        text = f"<annotation><size>{size}</size>{''.join(objects)}</annotation>"
        (root / "Annotations" / "a.xml").write_text(text)
        return tmp_path

    return write


def test_voc_counts_pixels_from_one(voc: Callable[..., Path]) -> None:
    part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
    folder = voc(
        voc_object("person", (1, 1, 50, 40), more=part),
        voc_object("cat", (10, 20, 10, 20.5), difficult=1),
        voc_object("dog", (5, 5, 6, 7), difficult=1),
        voc_object("cat", (30, 1, 70, 90)),
    )
    found = read("voc2012", "val", folder)
    assert found["a"].size == (50, 40)
    assert listed(found, "a", "person") == [[0, 0, 50, 40]]
    assert listed(found, "a", "cat") == [[9, 19, 10, 20.5], [29, 0, 50, 40]]  # difficult beside another; cut
    assert listed(found, "a", "dog") is None  # difficult alone
    assert listed(found, "a", "cow") is None


def test_own_labels_in_voc_xml(voc: Callable[..., Path]) -> None:
    folder = voc(voc_object("red fox", (1, 1, 5, 4)), voc_object("owl", (2, 2, 3, 3), difficult=1)) / "VOC2012"
    found = read("voc", "val", folder)
    assert (listed(found, "a", "red fox"), listed(found, "a", "owl")) == ([[0, 0, 5, 4]], None)


@pytest.mark.parametrize(
    ("objects", "size", "message"),
    [
        (
            [("cat", (1, 1, "x", 4))],
            None,
            r"a.xml: the box of a cat is \['1', '1', 'x', '4'\], not 4 numbers: correct it",
        ),
        ([("cat", (1, 1, "1e999", 4))], None, "not 4 numbers"),
        ([("cat", (60, 1, 70, 4))], None, r"the box of a cat, \['60', '1', '70', '4'\], is empty or outside"),
        ([("cat", (9, 1, 4, 4))], None, "is empty or outside the image"),
        ([("cat", (1, 1, 4, 4))], "", r"the size of the image is \[None, None\], not 2 numbers"),
        ([("cat", (1, 1, 4, 4))], "<width>0</width><height>40</height>", "the size of the image is 0×40 pixels"),
        ([("cat", (1, 1, 4, 4))], "<width>1.5</width><height>40</height>", "the size of the image is 1.5×40 pixels"),
        ([("unicorn", (1, 1, 4, 4))], None, "object 'unicorn' in a.xml is none of the 20 labels"),
    ],
)
def test_faults_of_voc(voc: Callable[..., Path], objects: list[Any], size: str | None, message: str) -> None:
    options = {} if size is None else {"size": size}
    with pytest.raises(DataError, match=message):
        read("voc2012", "val", voc(*[voc_object(*each) for each in objects], **options))


def test_a_voc_annotation_that_is_missing(voc: Callable[..., Path]) -> None:
    folder = voc()
    (folder / "VOC2012" / "Annotations" / "a.xml").unlink()
    with pytest.raises(DataError, match=r"a.xml: there is no such file"):
        read("voc2012", "val", folder)


def test_real_voc(voc_dir: Path) -> None:
    found = read("voc2007", "val", voc_dir)
    assert len(found) == 2510
    for image_id in list(found)[::250]:
        root = ElementTree.parse(voc_dir / "VOC2007" / "Annotations" / f"{image_id}.xml").getroot()
        wide = [item for item in root.iter("object") if item.findtext("difficult") == "0"]
        assert {item.findtext("name") for item in wide} == found[image_id].clear
        size = found[image_id].size
        for item in wide:
            corners = [float(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
            inside = [corners[0] - 1, corners[1] - 1, min(corners[2], size[0]), min(corners[3], size[1])]
            boxes = listed(found, image_id, item.findtext("name", ""))
            assert boxes is not None
            assert inside in boxes
    with Image.open(voc_dir / "VOC2007" / "JPEGImages" / f"{next(iter(found))}.jpg") as image:
        width, height = found[next(iter(found))].size
        assert image.width / image.height == pytest.approx(width / height, rel=0.02)  # smaller, of the same shape
        assert image.width < width


@pytest.fixture
def content() -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "g.png", "width": 50, "height": 40},
            {"id": 3, "file_name": "c.png", "width": 9, "height": 9},
            {"id": 5, "file_name": "e.png", "width": 20, "height": 30},
        ],
        "categories": [{"id": 44, "name": "bottle"}, {"id": 2, "name": "bicycle"}],
        "annotations": [
            {"image_id": 7, "category_id": 44, "bbox": [1.5, 2, 10, 20.25], "iscrowd": 0},
            {"image_id": 7, "category_id": 44, "bbox": [40, 30, 20, 20]},
            {"image_id": 7, "category_id": 44, "bbox": [5, 5, 0, 3]},
            {"image_id": 7, "category_id": 2, "bbox": [0, 0, 50, 40], "iscrowd": 1},
            {"image_id": 5, "category_id": 2, "bbox": [0, 0, 5, 5], "iscrowd": 1},
            {"image_id": 5, "category_id": 2, "bbox": [2, 2, 6, 6], "iscrowd": 0},
        ],
    }


def coco(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(content))
    return folder


def test_coco_has_left_top_width_and_height(tmp_path: Path, content: dict[str, Any]) -> None:
    found = read("coco", "val", coco(tmp_path, content))
    assert {image_id: image.size for image_id, image in found.items()} == {"g": (50, 40), "e": (20, 30)}
    assert listed(found, "g", "bottle") == [[1.5, 2, 11.5, 22.25], [40, 30, 50, 40]]  # cut, and the empty one left out
    assert listed(found, "g", "bicycle") is None  # a crowd alone
    assert listed(found, "e", "bicycle") == [[0, 0, 5, 5], [2, 2, 8, 8]]  # a crowd beside another


def test_the_ids_are_those_of_the_images(coco_dir: Path) -> None:
    found, problems = read("coco", "val2017", coco_dir), Problems()
    records = list_data("coco", "val2017", problems, data_dir=coco_dir).records
    assert list(found) == [record.image for record in records]
    assert all(set(record.labels) == found[record.image].boxes.keys() for record in records)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("annotations", 0, "bbox"), None, "annotation 1: bbox is None, not 4 numbers: give bbox as left, top"),
        (("annotations", 0, "bbox"), [1, 2, 3], r"annotation 1: bbox is \[1, 2, 3\], not 4 numbers"),
        (("annotations", 0, "bbox"), [1, 2, "x", 3], "annotation 1: bbox is .* not 4 numbers"),
        (("annotations", 0, "bbox"), [1, 2, float("nan"), 3], "annotation 1: bbox is .* not 4 numbers"),
        (("annotations", 0, "bbox"), [1, 2, True, 3], "annotation 1: bbox is .* not 4 numbers"),
        (("annotations", 0, "bbox"), [1, 2, 10**400, 3], "annotation 1: bbox is .* not 4 numbers"),
        (("images", 0, "width"), 10**8, r"images 1: the size of the image is 1e\+08×40 pixels: add its width"),
        (("images", 0, "width"), None, "images 1: the size of the image is .*: add its width and height"),
        (("annotations", 0, "category_id"), [], "category_id"),
        (("annotations", 0, "image_id"), [], "category_id"),
    ],
)
def test_faults_of_coco(tmp_path: Path, content: dict[str, Any], place: tuple, value: Any, message: str) -> None:
    content[place[0]][place[1]][place[2]] = value
    with pytest.raises(DataError, match=message):
        read("coco", "val", coco(tmp_path, content))


def test_data_without_boxes() -> None:
    with pytest.raises(InputError, match=r"dataset is 'csv', which has no boxes: give one of .*coco.*voc2012"):
        list_boxes("csv", "test", Problems())
    with pytest.raises(InputError, match="data_dir is not given, but data set 'voc2007' needs it"):
        list_boxes("voc2007", "val", Problems())
