import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.data import load_data


@pytest.fixture
def root(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    for seed, name in enumerate(("data/a.png", "data/deep/b.jpg", "data/c.png")):
        save_image(tmp_path / "train" / name, seed=seed)
    return tmp_path / "train"


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


# The forms that FiftyOneImageClassificationDatasetExporter and …Detection… write.
@pytest.mark.parametrize(
    ("classes", "values"),
    [
        (None, [["dog", "cat"], "cat", None]),
        (["dog", "cat", "cow"], [[0, 1], 1, None]),
        (None, [[{"label": "dog", "confidence": 0.9}, {"label": "cat"}], {"label": "cat", "attributes": {}}, None]),
        (["dog", "cat"], [[{"label": 0, "confidence": 0.9}, {"label": 1}], [{"label": 1}], []]),
        (None, [[{"label": name, "bounding_box": [0, 0, 1, 1]} for name in ("dog", "cat", "dog")], ["cat"], []]),
    ],
)
def test_labels_json(
    root: Path, names_by_id: Callable[..., Any], classes: list[str] | None, values: list[Any]
) -> None:
    keys = ["a", "deep/b", str(root / "data" / "c.png")]
    write(root / "labels.json", {"classes": classes, "labels": dict(zip(keys, values, strict=True))})
    images = load_data("fiftyone", "train", data_dir=root.parent)
    assert images.label_names == (classes or ["cat", "dog"])
    wanted = [{"dog", "cat"}, {"cat"}, set()]
    assert names_by_id(images) == {key: (labels, set()) for key, labels in zip(keys, wanted, strict=True)}


def sample(path: str, *labels: str, tags: list[str] | None = None, kind: str = "Classifications") -> dict[str, Any]:
    """A document of samples.json, as FiftyOneDatasetExporter writes it."""
    single = kind.removesuffix("s")
    many = [{"_id": {"$oid": "6"}, "_cls": single, "tags": [], "label": label, "logits": None} for label in labels]
    return {
        **{"_id": {"$oid": "66"}, "filepath": path, "tags": tags or [], "_media_type": "image", "_rand": 0.2},
        **{"metadata": {"_cls": "ImageMetadata", "width": 40}, "ground_truth": {"_cls": kind, kind.lower(): many}},
    }


@pytest.mark.parametrize("kind", ["Classifications", "Detections"])
def test_samples_json(root: Path, names_by_id: Callable[..., Any], kind: str) -> None:
    empty = {**sample("data/c.png"), "ground_truth": None}
    samples = [sample("data/a.png", "dog", "cat", kind=kind), sample("data/deep/b.jpg", "cat", kind=kind), empty]
    write(root / "samples.json", {"samples": samples})
    images = load_data("fiftyone", "train", data_dir=root)
    assert names_by_id(images) == {
        **{"data/a.png": ({"dog", "cat"}, set()), "data/deep/b.jpg": ({"cat"}, set())},
        "data/c.png": (set(), set()),
    }


def test_tags_are_splits_and_a_field_may_be_chosen(root: Path, problems_of: Any) -> None:
    samples = [sample("data/a.png", "dog", tags=["train"]), sample("data/c.png", "cat", "dog", tags=["validation"])]
    write(root / "samples.json", {"samples": samples})
    assert load_data("fiftyone", "validation", data_dir=root).image_ids == ["data/c.png"]
    problems = problems_of("fiftyone", "test", data_dir=root)
    assert problems[0].text == "no sample has the tag 'test'; tags are 'train', 'validation'"
    for one in samples:
        one["weather"] = {"_cls": "Classification", "label": "sunny" if one["filepath"] == "data/a.png" else "rainy"}
    write(root / "samples.json", {"samples": samples})
    (problem,) = problems_of("fiftyone", "train", data_dir=root)
    assert problem.text == "the samples have 2 fields of labels: ground_truth, weather"
    images = load_data("fiftyone", "x", files=root / "samples.json", label_column="weather")
    assert images.label_names == ["rainy", "sunny"]
    assert images.targets().tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ([], "", "not an export of FiftyOne"),
        ({"what": 1}, "", "not an export of FiftyOne (KeyError"),
        ({"samples": [3]}, "", "not an export of FiftyOne"),
        (
            {"classes": ["dog", "cat"], "labels": {"a": [0, 2]}},
            ", entry 'a'",
            "label 2, where the file declares the 2",
        ),
        ({"classes": ["dog", "cat"], "labels": {"a": "Dog"}}, ", entry 'a'", "label 'Dog', where the file declares"),
        ({"classes": None, "labels": {"a": 0}}, ", entry 'a'", "label 0, where the file declares no classes"),
        ({"samples": [{**sample("", "dog")}]}, ", entry 1", "the sample has no filepath"),
    ],
)
def test_what_is_wrong(root: Path, problems_of: Any, content: Any, place: str, words: str) -> None:
    problems = problems_of("fiftyone", "train", files=write(root / "labels.json", content))
    assert [problem.place for problem in problems] == [f"{root / 'labels.json'}{place}"]
    assert words in problems[0].text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"samples": [sample("data/a.png", 1)]}, "label 1 is a number"),  # type: ignore[arg-type]
        ({"classes": ["dog", 1], "labels": {}}, "label 1 is a number"),
        ({"classes": ["dog", "dog "], "labels": {}}, "label 'dog' is declared twice"),
        ({"classes": None, "labels": {"a": [[]]}}, "label [] is a list"),
        ({"classes": None, "labels": {"a": ["dog", None]}}, "label None is nothing"),
        ({"classes": ["dog", "cat"], "labels": {"a": True}}, "label True, where the file declares the 2 classes"),
    ],
)
def test_labels_that_are_no_text(root: Path, problems_of: Any, content: Any, words: str) -> None:
    problems = problems_of("fiftyone", "train", files=write(root / "labels.json", content))
    assert words in problems[0].text
