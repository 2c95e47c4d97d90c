"""Formats of files and folders, each told from the least that has its layout."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from PIL import Image

from sct_hf.data.recognise import recognise
from sct_hf.data.registry import ANY_PLACE, READERS
from sct_hf.errors import InputError
from sct_hf.training.own_images import place_words

TABLE = "image,labels\na.png,dog|cat\nb.png,cat\n"
STUDIO = [{"id": 1, "data": {"image": "a.png"}, "annotations": []}]
SHAPES = {"shapes": [{"label": "dog", "shape_type": "rectangle"}], "imagePath": "a.png", "imageData": None}
INSTANCES = {"images": [], "annotations": [], "categories": []}
# Reader → files of its layout; a text is written as it is, anything else as JSON, and None is an image.
LAYOUTS: dict[str, list[dict[str, Any]]] = {
    "csv": [
        {"labels.csv": TABLE, "a.png": None},
        {"train.csv": TABLE, "test.csv": TABLE},
        {"train/_classes.csv": TABLE},
    ],
    "jsonl": [{"labels.jsonl": {"image": "a.png", "labels": ["dog"]}, "a.png": None}],
    "imagefolder": [{"metadata.csv": TABLE, "a.png": None}, {"train/metadata.jsonl": {"file_name": "a.png"}}],
    "labelfolders": [{"dog/a.png": None, "cat/b.png": None}, {"train/dog/a.png": None, "test/dog/b.png": None}],
    "labelstudio": [{"export.json": STUDIO, "a.png": None}, {"train.json": STUDIO, "test.json": STUDIO}],
    "cvat": [{"annotations.xml": "<?xml version='1.0'?><annotations></annotations>", "images/a.png": None}],
    "fiftyone": [{"samples.json": {"samples": []}}, {"train/labels.json": {"classes": [], "labels": {}}}],
    "yolo": [{"data.yaml": "names: [dog]\ntrain: images\n", "images/a.png": None, "labels/a.txt": ""}],
    "labelme": [{"train/a.json": SHAPES, "train/a.png": None}, {"a.json": SHAPES, "a.png": None}],
    "voc2007": [{"VOC2007/ImageSets/Main/train.txt": "", "VOC2007/JPEGImages/a.png": None}],
    "voc2012": [{"VOC2012/ImageSets/Main/train.txt": ""}],
    "coco": [{"annotations/instances_train2017.json": INSTANCES, "train2017/a.png": None}],
    "nuswide": [{"NUS_WID_Tags/TagList1k.txt": "", "ImageList/TrainImagelist.txt": ""}],
}


def lay_out(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.new("RGB", (8, 8)).save(path)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def test_every_reader_with_a_sign_has_a_layout_here() -> None:
    assert LAYOUTS.keys() | {ANY_PLACE} == {name for name, reader in READERS.items() if reader.sign is not None}


@pytest.mark.parametrize(("name", "files"), [(name, files) for name, all_ in LAYOUTS.items() for files in all_])
def test_a_layout_is_recognised_as_no_other(tmp_path: Path, name: str, files: dict[str, Any]) -> None:
    assert recognise(lay_out(tmp_path, files)).dataset == name


def test_a_saved_dataset_is_named_by_its_folder(tmp_path: Path) -> None:
    Dataset.from_dict({"a": [1]}).save_to_disk(tmp_path)
    assert recognise(tmp_path).dataset == str(tmp_path)


def test_the_split_to_score_is_found(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, {"train/dog/a.png": None, "valid/dog/b.png": None})
    assert recognise(folder).evaluation == {"eval_split": "valid"}
    official = lay_out(tmp_path / "b", {f"VOC2007/ImageSets/Main/{name}.txt": "" for name in ("train", "val", "test")})
    place = recognise(official)
    assert (place.options["train_split"], place.evaluation) == ("train", {"eval_split": "val"})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.png": None, "b.png": None}, "has no known format: give a table with --labels"),
        ({"VOC2007/ImageSets/Main/a.txt": "", "VOC2012/ImageSets/Main/a.txt": ""}, "may be voc2007 and voc2012: say"),
    ],
)
def test_what_cannot_be_told(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recognise(lay_out(tmp_path, files))


def test_places_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file or folder"):
        recognise(tmp_path / "absent")
    with pytest.raises(InputError, match="is no folder: give the folder of the images"):
        recognise(lay_out(tmp_path, {"a.png": None}) / "a.png", tmp_path / "a.png")
    with pytest.raises(InputError, match="name the folder of the images as the first word"):
        place_words(["--labels", "a.csv"], recipe=True)


def test_words_of_a_folder_and_a_table(tmp_path: Path) -> None:
    folder, table = lay_out(tmp_path / "photos", {"a.png": None}), tmp_path / "labels.csv"
    table.write_text(TABLE)
    words, line = place_words([str(folder), "--labels", str(table), "--recipe=mine.yaml", "--epochs=3"], recipe=True)
    assert set(words[:5]) == {
        *("--dataset=csv", f"--train_file={table}", f"--data_dir={folder}"),
        *("--eval_split=held_out", "--holdout=0.2"),
    }
    assert words[5:] == ["--recipe=mine.yaml", "--epochs=3"]
    assert line == f"{folder} is read as csv, scored on a fifth of the images, held out"


def test_dataset_on_the_command_line_overrules(tmp_path: Path) -> None:
    lay_out(tmp_path, {"dog/a.png": None, "cat/b.png": None, "notes.json": []})
    with pytest.raises(InputError, match="has no known format"):
        recognise(tmp_path)
    words, line = place_words([str(tmp_path), "--dataset", "labelfolders", "--epochs=1"], recipe=False)
    assert words[-3:] == ["--dataset", "labelfolders", "--epochs=1"]
    assert {f"--data_dir={tmp_path}", "--eval_split=held_out", "--holdout=0.2"} < set(words)
    assert line == f"{tmp_path} is read as labelfolders, scored on a fifth of the images, held out"
    words, _ = place_words([str(tmp_path), "--dataset=labelfolders", "--eval_split=val"], recipe=False)
    assert not [word for word in words if word.startswith("--holdout")]
    assert place_words(["--dataset=csv"], recipe=True) == (["--dataset=csv"], None)
