import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value

from sct_hf.data import ImageDataset, LabelledImages, eval_transform, load_data
from sct_hf.data.problems import SplitError
from sct_hf.errors import InputError

NAMES = ["ant", "bee", "cow"]
ROWS = [["bee", "cow"], [], ["ant"]]
TARGETS = [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
NUMBERS = [[NAMES.index(name) for name in row] for row in ROWS]


@pytest.fixture
def saved(tmp_path: Path, save_image: Callable[..., Path]) -> Callable[..., str]:
    """Save a data set of three images and one label column; return its folder."""
    paths = [str(save_image(tmp_path / f"{number}.png", seed=number)) for number in range(3)]

    def save(column: str, values: list[Any], feature: Any, **more: tuple[list[Any], Any]) -> str:
        columns = {"photo": (paths, Image()), column: (values, feature), **more}
        features = Features({name: kind for name, (_, kind) in columns.items()})
        dataset = Dataset.from_dict({name: data for name, (data, _) in columns.items()}, features=features)
        dataset.save_to_disk(tmp_path / "saved")
        return str(tmp_path / "saved")

    return save


@pytest.mark.parametrize(
    ("values", "feature"),
    [
        (ROWS, List(Value("string"))),
        (ROWS, List(ClassLabel(names=NAMES))),
        ([{"category": row} for row in NUMBERS], {"category": List(ClassLabel(names=NAMES))}),
        ([[{"category": n} for n in row] for row in NUMBERS], List({"category": ClassLabel(names=NAMES)})),
    ],
)
def test_each_kind_of_label_column(saved: Callable[..., str], values: list[Any], feature: Any) -> None:
    nested = not isinstance(values[0], list) or isinstance(values[0][0], dict)
    folder = saved("objects" if nested else "labels", values, feature)
    images = load_data(folder, "train", label_column="objects.category" if nested else None)
    assert images.label_names == NAMES
    assert images.targets().tolist() == TARGETS
    assert images.image_ids == ["train-000000", "train-000001", "train-000002"]
    assert images.to_dataset().features.keys() == {"image_id", "image", "labels", "unknown"}


def test_numbers_need_names(saved: Callable[..., str]) -> None:
    folder = saved("tags", NUMBERS, List(Value("int64")))
    assert load_data(folder, "train", label_names=NAMES).targets().tolist() == TARGETS
    with pytest.raises(
        InputError, match=r"tags: the labels are numbers without names, .*, or name the labels .* by labels_file"
    ):
        load_data(folder, "train")


def test_one_label_a_image_and_ids_and_unknown(saved: Callable[..., str]) -> None:
    label = ClassLabel(names=NAMES)
    folder = saved(
        "label", [2, 0, 1], label, image_id=([7, 8, 9], Value("int32")), unknown=([[0, 2], [], [2]], List(label))
    )
    images = load_data(folder, "train")
    assert images.image_ids == ["7", "8", "9"]
    assert images.targets().tolist() == [[-1, 0, 1], [1, 0, 0], [0, 1, -1]]


def test_our_own_data_sets_come_back(tmp_path: Path, make_images: Callable[..., LabelledImages]) -> None:
    images = make_images([(["bee"], ["cow"]), (["ant"], [])], NAMES)
    DatasetDict({"val": images.to_dataset()}).save_to_disk(tmp_path / "set")
    again = load_data(str(tmp_path / "set"), "val")
    assert (again.targets() == images.targets()).all()
    assert again.image_ids == images.image_ids
    with pytest.raises(SplitError, match=r"split is 'train', but data set '.*' has val"):
        load_data(str(tmp_path / "set"), "train")


def test_a_folder_of_parquet_files(tmp_path: Path, make_images: Callable[..., LabelledImages]) -> None:
    images = make_images([(["bee"], ["cow"]), (["ant"], [])], NAMES)
    folder = tmp_path / "parquet"
    folder.mkdir()
    images.to_dataset().to_parquet(folder / "train-00000-of-00001.parquet")
    again = load_data(str(folder), "train", cache_dir=tmp_path / "cache")
    assert (again.targets() == images.targets()).all()
    assert again.label_names == NAMES
    expected, found = (ImageDataset(part, eval_transform(8, [0.5] * 3, [0.5] * 3))[1] for part in (images, again))
    assert expected["pixel_values"].equal(found["pixel_values"])


def test_missing_images_of_a_list_of_paths(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    paths = [str(save_image(tmp_path / "whole.png")), str(tmp_path / "gone.png"), None]
    rows = [{"file": path, "tags": row} for path, row in zip(paths, ROWS, strict=True)]
    folder = tmp_path / "listed"
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    options: dict[str, Any] = {"image_column": "file", "cache_dir": tmp_path / "cache"}
    with pytest.raises(InputError, match=r"2 of 3 .* at .*gone.png \(missing\); train-000002 at <no file>"):
        load_data(str(folder), "train", **options)
    images = load_data(str(folder), "train", skip_missing_images=True, **options)
    assert images.skipped == ("train-000001", "train-000002")
    assert images.targets().tolist() == [TARGETS[0]]
    assert images.image(0).size == (40, 30)


def test_faults_are_named(saved: Callable[..., str], tmp_path: Path) -> None:
    folder = saved("label", [2, -1, 1], ClassLabel(names=NAMES))
    with pytest.raises(InputError, match=r"label: label -1 is none of the 3 names"):
        load_data(folder, "train")
    with pytest.raises(InputError, match=r"image_column is 'image', but .* has only photo, label"):
        load_data(folder, "train", image_column="image")
    with pytest.raises(InputError, match=r"label_column is 'tags.name', but .* has only photo, label"):
        load_data(folder, "train", label_column="tags.name")
    with pytest.raises(InputError, match=r"label_column is 'label.name', but 'label' of data set"):
        load_data(folder, "train", label_column="label.name")
    with pytest.raises(InputError, match="has its own"):
        load_data(folder, "train", label_names=["x", "y", "z"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"whose split 'train' cannot be loaded \(.+\): give the name"):
        load_data(str(empty), "train", cache_dir=tmp_path / "cache")
    text = Dataset.from_dict({"text": ["a"], "labels": [["x"]]})
    text.save_to_disk(tmp_path / "text")
    with pytest.raises(InputError, match="has 0 columns of images among text, labels: set image_column"):
        load_data(str(tmp_path / "text"), "train")


VECTORS = [[0, 1, 1], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (List(Value("int64")), VECTORS),
        (List(Value("float32")), VECTORS),
        (List(Value("bool")), [[bool(mark) for mark in row] for row in VECTORS]),
        (List(Value("uint8"), length=3), VECTORS),
        (List(ClassLabel(names=["absent", "present"])), VECTORS),
        (Value("string"), ["bee, cow", "", "ant"]),
        (Value("string"), ['["bee", "cow"]', "[]", '["ant"]']),
        (Value("string"), ["['bee' 'cow']", None, "['ant']"]),
        (List(Value("string")), [[" bee", "cow "], [], ["ant"]]),
    ],
)
def test_vectors_and_text(saved: Callable[..., str], tmp_path: Path, kind: Any, values: list[Any]) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    folder = saved("tags", values, kind)
    images = load_data(folder, "train", labels_file=tmp_path / "labels.txt")
    assert images.label_names == NAMES
    assert images.targets().tolist() == TARGETS


def test_an_unknown_column_beside_vectors(saved: Callable[..., str]) -> None:
    folder = saved("tags", VECTORS, List(Value("int64")), unknown=([[0], [1, 2], []], List(Value("int64"))))
    images = load_data(folder, "train", label_names=NAMES)
    assert images.targets().tolist() == [[-1, 1, 1], [0, -1, -1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (List(Value("int64")), VECTORS, r"train\[0\]: tags: the labels are 0/1 vectors of 3 numbers without names"),
        (List(ClassLabel(names=["no", "yes"])), [[0, 1], [1, 0], [0, 1]], r"\(no, yes\) or a 0/1 vector \(yes\)"),
        (List(Value("float32")), [[0.5, 0, 0], [1, 0, 0], [0, 1, 0]], "without names"),
        (Value("string"), ["bee", "nan", "ant"], r"train\[1\]: tags holds 'nan', which stands for no value"),
        (List(Value("string")), [["bee", ""], [], []], r"train\[0\]: tags: a label is empty"),
        (Value("bool"), [True, False, True], "labels_file"),
    ],
)
def test_numbers_and_cells_that_are_refused(
    saved: Callable[..., str], kind: Any, values: list[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_data(saved("tags", values, kind), "train")


def test_broken_bytes_are_found_before_training(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    whole = save_image(tmp_path / "a.png").read_bytes()
    rows = {"image": [{"bytes": whole, "path": None}, {"bytes": whole[:90], "path": None}], "label": ["ant", "bee"]}
    Dataset.from_dict(rows, features=Features(image=Image(), label=Value("string"))).save_to_disk(tmp_path / "set")
    with pytest.raises(InputError, match=r"1 of 2 images .* first train-000001 at <no file> \(broken"):
        load_data(str(tmp_path / "set"), "train")
    assert len(load_data(str(tmp_path / "set"), "train", skip_missing_images=True)) == 1
