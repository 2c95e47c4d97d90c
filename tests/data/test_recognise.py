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
OBJECTS = "<annotation verified='yes'>\n<filename>a.png</filename><object><name>dog</name></object></annotation>"
MAIN = "ImageSets/Main"
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
    "voc2007": [{f"VOC2007/{MAIN}/train.txt": "", f"VOC2007/{MAIN}/aeroplane_train.txt": ""}],
    "voc2012": [{f"VOC2012/{MAIN}/train.txt": "", f"VOC2012/{MAIN}/aeroplane_train.txt": ""}],
    "voc": [
        {"a.png": None, "a.xml": OBJECTS, "classes.txt": "dog\n"},
        {"train/a.png": None, "train/a.xml": OBJECTS, "valid/b.png": None, "valid/b.xml": OBJECTS},
        {"JPEGImages/a.png": None, "Annotations/a.xml": OBJECTS, f"{MAIN}/default.txt": "a\n", "labelmap.txt": "dog"},
        {"images/a.png": None, "annotations/a.xml": OBJECTS},
        {"VOC2007/JPEGImages/a.png": None, "VOC2007/Annotations/a.xml": OBJECTS, f"VOC2007/{MAIN}/train.txt": "a\n"},
    ],
    "coco": [
        {"annotations/instances_train2017.json": INSTANCES, "train2017/a.png": None},
        {"annotations/instances_default.json": INSTANCES, "images/a.png": None},
        {"_annotations.coco.json": INSTANCES, "a.png": None},
        {"train/_annotations.coco.json": INSTANCES, "train/a.png": None, "valid/_annotations.coco.json": INSTANCES},
        {"labels.json": INSTANCES, "data/a.png": None},
        {"train/labels.json": INSTANCES, "train/data/a.png": None},
        {"result.json": INSTANCES, "images/a.png": None},
    ],
    "shards": [
        {"shards.json": "{}", "shard-0.parquet": "", "contents.txt": ""},
        {"train/shards.json": "{}", "train/shard-0.parquet": "", "test/shards.json": "{}"},
        {"train-0.tar": "", "test-0.tar": ""},
        {"train/0.tar": "", "train/1.tar": ""},
    ],
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
    lists = ("train", "val", "test", "aeroplane_train")
    official = lay_out(tmp_path / "b", {f"VOC2007/{MAIN}/{name}.txt": "" for name in lists})
    place = recognise(official)
    assert (place.options["train_split"], place.evaluation) == ("train", {"eval_split": "val"})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.png": None, "b.png": None}, "has no known format: give a table with --labels"),
        ({"a.png": None}, "Looked for:\n  (.+\n)*  voc: an XML file with <annotation> for each image"),
        ({f"VOC{year}/{MAIN}/aeroplane_train.txt": "" for year in (2007, 2012)}, "may be voc2007 and voc2012: say"),
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
    with pytest.raises(InputError, match="a folder: give a table"):
        recognise(tmp_path, tmp_path)


def test_every_sign_says_what_it_looks_for() -> None:
    assert [name for name, reader in READERS.items() if reader.sign is not None and not reader.layout] == []


def test_a_large_file_of_instances_is_recognised(tmp_path: Path) -> None:
    """As MS-COCO writes it: images first, categories last, and much more than is read between them."""
    images = [{"file_name": f"{number}.jpg", "id": number, "licence": "x" * 500} for number in range(300)]
    boxes = [{"image_id": number, "category_id": 1, "segmentation": "1 " * 300} for number in range(300)]
    content = {"info": {}, "images": images, "annotations": boxes, "categories": [{"id": 1, "name": "dog"}]}
    place = recognise(lay_out(tmp_path, {"train/captions.json": content}) / "train" / "captions.json")
    assert (place.dataset, place.options) == ("coco", {"train_file": str(tmp_path / "train" / "captions.json")})


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


def test_words_of_images_to_score(tmp_path: Path) -> None:
    folder, table = lay_out(tmp_path / "photos", {"a.png": None}), tmp_path / "labels.csv"
    table.write_text(TABLE)
    words, line = place_words([str(folder), "--labels", str(table), "--model=m"], recipe=False, trains=False)
    assert {*words} == {
        "--dataset=csv",
        f"--data_dir={folder}",
        f"--eval_file={table}",
        "--eval_split=train",
        "--model=m",
    }
    assert line == f"{folder} is read as csv, scored on all images"
    split = lay_out(tmp_path / "b", {"train/dog/a.png": None, "valid/dog/b.png": None})
    words, line = place_words([str(split)], recipe=False, trains=False)
    assert words == ["--dataset=labelfolders", f"--data_dir={split}", "--eval_split=valid"]
    assert line == f"{split} is read as labelfolders, scored on eval_split valid"
    words, _ = place_words([str(split), "--eval_split=train"], recipe=False, trains=False)
    assert words == ["--dataset=labelfolders", f"--data_dir={split}", "--eval_split=train"]


def test_words_of_shards_leave_out_what_needs_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe for a CPU caches maps and trains folds; shards are streamed. Options that are given still win."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    lay_out(tmp_path, {"train/shards.json": {}})
    words, line = place_words([str(tmp_path), "--cache_features=true"], recipe=True)
    assert {"--recipe=small", "--cache_features=false", "--calibration_folds=0"} < set(words)
    assert words.index("--cache_features=false") < words.index("--cache_features=true")
    assert line.endswith("scored on a fifth of the images, held out, recipe small without cached maps")


def test_words_of_a_command_that_scores_nothing(tmp_path: Path) -> None:
    lay_out(tmp_path, {"dog/a.png": None, "cat/b.png": None})
    words, line = place_words([str(tmp_path)], recipe=False, scores=False)
    assert words == ["--dataset=labelfolders", f"--data_dir={tmp_path}"]
    assert line == f"{tmp_path} is read as labelfolders"


def test_the_split_of_a_yaml_file_is_found(tmp_path: Path) -> None:
    files = {"data.yaml": "names: [dog]\ntrain: images\nval: images\n", "images/a.png": None, "labels/a.txt": ""}
    for place in (root := lay_out(tmp_path, files), root / "data.yaml"):
        found = recognise(place)
        assert (found.options, found.evaluation) == ({"data_dir": str(root)}, {"eval_split": "val"})


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
