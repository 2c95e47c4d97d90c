import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.data import load_data
from sct_hf.data.problems import SplitError


def write(path: Path, image: str, flags: dict[str, bool], *labels: str, data: bytes | None = None) -> None:
    """As labelme/_label_file.py writes it."""
    shapes = [
        {
            **{"label": label, "points": [[1.0, 2.0], [9.0, 8.0]], "group_id": None, "description": ""},
            **{"shape_type": "rectangle", "flags": {"occluded": True}, "mask": None},
        }
        for label in labels
    ]
    content = {
        **{"version": "5.5.0", "flags": flags, "shapes": shapes, "imagePath": image},
        **{"imageData": base64.b64encode(data).decode() if data else None, "imageHeight": 30, "imageWidth": 40},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    for seed, name in enumerate(("a.png", "images/b.png", "deep/c.png", "unlabelled.png")):
        save_image(tmp_path / "train" / name, seed=seed)
    folder = tmp_path / "train"
    write(folder / "a.json", "a.png", {"dog": True, "cat": False}, "sofa", "sofa", data=b"bytes")
    write(folder / "json" / "b.json", "..\\images\\b.png", {}, "dog")
    write(folder / "deep" / "c.json", "c.png", {"dog": False})
    return tmp_path


WANTED = {"a": ({"dog", "sofa"}, set()), "json/b": ({"dog"}, set()), "deep/c": (set(), set())}


def test_flags_and_shapes(root: Path, names_by_id: Callable[..., Any]) -> None:
    images = load_data("labelme", "train", data_dir=root)
    assert images.label_names == ["dog", "sofa"], "flags of the image, not of shapes"
    assert names_by_id(images) == WANTED
    assert names_by_id(load_data("labelme", "train", data_dir=root / "train")) == WANTED
    with pytest.raises(SplitError, match="split is 'val', but there is no folder"):
        load_data("labelme", "val", data_dir=root)


def test_what_is_wrong(root: Path, problems_of: Any) -> None:
    (root / "train" / "a.json").write_text("[]")
    (root / "train" / "json" / "b.json").write_text('{"imagePath": "b.png", "shapes": [{"points": []}]}')
    (root / "train" / "deep" / "c.json").write_text('{\n"imagePath"')
    problems = problems_of("labelme", "train", data_dir=root)
    assert [problem.place.removeprefix(f"{root}/train/") for problem in problems] == [
        *("a.json", "deep/c.json, line 2", "json/b.json"),
    ]
    assert problems[2].text == "not a file of LabelMe (KeyError: 'label')"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"imagePath": "a.png", "shapes": [{"label": None}]}, "label None is nothing"),
        ({"imagePath": "a.png", "shapes": [{"label": 3}]}, "label 3 is a number: labels are text"),
        ({"imagePath": "a.png", "shapes": [], "flags": {" ": True}}, "a label is empty"),
        ({"imagePath": None, "shapes": []}, "imagePath is None"),
        ({"imagePath": "a\0b.png", "shapes": []}, "imagePath is"),
        ({"imagePath": "a.png", "shapes": 3}, "not a file of LabelMe"),
    ],
)
def test_odd_values(root: Path, problems_of: Any, content: Any, words: str) -> None:
    (root / "train" / "a.json").write_text(json.dumps(content))
    (problem,) = problems_of("labelme", "train", data_dir=root)
    assert words in str(problem)
