import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.data import load_data
from sct_hf.errors import InputError


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
    with pytest.raises(InputError, match=r"split is 'train2014', .* val2014"):
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
