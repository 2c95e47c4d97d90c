import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.data import load_data
from sct_hf.data.listing import Listing
from sct_hf.data.problems import DataError, Problems, SplitError
from sct_hf.data.registry import list_data
from sct_hf.errors import InputError
from sct_hf.training.arguments import DataArguments
from sct_hf.training.data_checks import check_run_data


def test_real_splits_share_the_80_labels(coco_dir: Path) -> None:
    train, val = (load_data("coco", split, data_dir=coco_dir) for split in ("train2017", "val2017"))
    assert train.label_names == val.label_names
    assert (len(val.label_names), val.label_names[:2], val.label_names[-1]) == (
        80,
        ["person", "bicycle"],
        "toothbrush",
    )
    content = json.loads((coco_dir / "annotations" / "instances_val2017.json").read_text())
    name_of = {category["id"]: category["name"] for category in content["categories"]}
    pairs = {(f"{a['image_id']:012d}", name_of[a["category_id"]]) for a in content["annotations"]}
    ids, names = val.image_ids, val.label_names
    rows, columns = val.targets().nonzero()
    assert {(ids[row], names[column]) for row, column in zip(rows, columns, strict=True)} == pairs
    assert val.image(0).size[0] > 100


@pytest.fixture
def content() -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "g.png"}, {"id": 3, "file_name": "c.png"}, {"id": 5, "file_name": "e.png"}],
        "categories": [{"id": 44, "name": "bottle"}, {"id": 2, "name": "bicycle"}, {"id": 90, "name": "cup"}],
        "annotations": [
            {"image_id": 7, "category_id": 44},
            {"image_id": 7, "category_id": 44},
            {"image_id": 5, "category_id": 2, "iscrowd": 1},
            {"image_id": 7, "category_id": 2},
        ],
    }


@pytest.fixture
def write(tmp_path: Path, save_image: Callable[..., Path]) -> Callable[[Any], Path]:
    def write_content(content: Any) -> Path:
        for name in "gce":
            save_image(tmp_path / "val2014" / f"{name}.png")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / "instances_val2014.json").write_text(
            content if isinstance(content, str) else json.dumps(content)
        )
        return tmp_path

    return write_content


def test_labels_are_sorted_by_id_and_empty_images_dropped(
    content: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    images = load_data("coco", "val2014", data_dir=write(content))
    assert images.label_names == ["bicycle", "bottle", "cup"]
    assert images.image_ids == ["g", "e"]
    assert images.targets().tolist() == [[1, 1, 0], [1, 0, 0]]


def test_faults_are_named(content: dict[str, Any], write: Callable[[Any], Path]) -> None:
    with pytest.raises(SplitError, match=r"split is 'train2014', .* val2014"):
        load_data("coco", "train2014", data_dir=write(content))
    content["annotations"][0]["category_id"] = 1
    with pytest.raises(
        InputError, match=r"instances_val2014.json, annotation 1: category_id 1 is none of the 3 categories"
    ):
        load_data("coco", "val2014", data_dir=write(content))
    with pytest.raises(InputError, match="not in the instances format"):
        load_data("coco", "val2014", data_dir=write([1, 2]))
    with pytest.raises(InputError, match="not valid JSON"):
        load_data("coco", "val2014", data_dir=write('{"images": ['))


@pytest.fixture
def listed(content: dict[str, Any], write: Callable[[Any], Path]) -> Callable[[], Listing]:
    def listing() -> Listing:
        problems = Problems()
        found = list_data("coco", "val2014", problems, data_dir=write(content))
        problems.raise_if_any()
        return found

    return listing


def test_equal_stems_in_two_folders(
    content: dict[str, Any], write: Callable[[Any], Path], save_image: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("a/g.png", "b/g.png"):
        save_image(tmp_path / "val2014" / name)
    content["images"][0]["file_name"], content["images"][2]["file_name"] = "a/g.png", "b\\g.png"
    images = load_data("coco", "val2014", data_dir=write(content))
    assert images.image_ids == ["a/g", "b/g"]
    assert images.encoded(1)["path"] == str(tmp_path / "val2014" / "b" / "g.png")


def test_a_file_name_may_start_from_the_root(content: dict[str, Any], write: Callable[[Any], Path]) -> None:
    for image in content["images"]:
        image["file_name"] = f"val2014/{image['file_name']}"
    assert load_data("coco", "val2014", data_dir=write(content)).image_ids == ["g", "e"]


def test_what_is_left_out_is_noted(content: dict[str, Any], listed: Callable[[], Listing]) -> None:
    content["annotations"].append({"image_id": 99, "category_id": 2})
    notes = listed().notes
    assert "1 annotations are of images that the file does not list, such as image_id 99" in notes[0]
    assert "1 images without an object are left out" in notes[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": [{"id": "7", "file_name": "g.png"}]},
            "no annotation is of a listed image: image_id is 7, ids of im",
        ),
        ({"images": [{"id": 7}]}, "images 1: an object without a usable id or file_name"),
        ({"images": [3]}, "images 1: a number without a usable"),
        ({"images": [{"id": 7, "file_name": "g.png"}, {"id": 7, "file_name": "e.png"}]}, "2: id 7 is already used"),
        ({"categories": [{"id": 2, "name": None}]}, "categories: label None is nothing"),
        ({"categories": [{"id": 2, "name": "cup"}, {"id": 3, "name": "cup "}]}, "label 'cup' is declared twice"),
        ({"categories": [{"id": 2, "name": "a"}, {"id": "3", "name": "b"}]}, "mix numbers and text, or repeat"),
        ({"annotations": [{"image_id": 7}]}, "annotation 1: an object without image_id and category_id"),
        ({"annotations": [{"image_id": 7, "category_id": [2]}]}, "annotation 1: category_id .* is none of the 3"),
        ({"annotations": 5}, "not in the instances format"),
    ],
)
def test_each_fault_has_its_entry(
    content: dict[str, Any], listed: Callable[[], Listing], change: dict[str, Any], message: str
) -> None:
    content.update(change)
    with pytest.raises(DataError, match=message):
        listed()


def test_odd_published_data_are_noted_and_no_error(content: dict[str, Any], write: Callable[[Any], Path]) -> None:
    """The images are equal, no image shows a cup, and the scored images are trained on."""
    data = DataArguments(dataset="coco", data_dir=str(write(content)), train_split="val2014", eval_split="val2014")
    notes = "\n".join(check_run_data(data).notes[0])
    assert "label 'cup' has no positive in training" in notes
    assert "'e' is the same image as 'g'" in notes
    assert "all 1 images that are scored are training images too" in notes
    (Path(data.data_dir or "") / "val2014" / "g.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"images 1: image .*g.png is broken"):
        check_run_data(data)


def test_roboflow_and_a_file_alone(content: dict[str, Any], tmp_path: Path, save_image: Callable[..., Path]) -> None:
    """Roboflow adds a category above all others, which no box has; it is no label."""
    for category in content["categories"]:
        category["supercategory"] = "things"
    content["categories"].append({"id": 0, "name": "things", "supercategory": "none"})
    file = tmp_path / "set" / "train" / "_annotations.coco.json"
    for seed, name in enumerate("gce"):
        save_image(file.parent / f"{name}.png", seed=seed)
    file.write_text(json.dumps(content))
    by_split = load_data("coco", "train", data_dir=tmp_path / "set")
    alone = load_data("coco", "train", files=file)
    for images in (by_split, alone):
        assert images.label_names == ["bicycle", "bottle", "cup"]
        assert (images.image_ids, images.targets().tolist()) == (["g", "e"], [[1, 1, 0], [1, 0, 0]])


def test_a_file_in_the_official_layout_finds_its_images(content: dict[str, Any], write: Callable[[Any], Path]) -> None:
    file = write(content) / "annotations" / "instances_val2014.json"
    assert load_data("coco", "train", files=file).image_ids == ["g", "e"]
