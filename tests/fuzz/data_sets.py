"""A small sound data set of each format, with the files of it that users write or tools export."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as PilImage

from sct_hf.data.nus_wide import NUS_CONCEPTS
from sct_hf.data.registry import ANY_PLACE
from sct_hf.data.voc import VOC_LABELS

SIZE = "<size><width>8</width><height>8</height></size>"
BOX = "<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>8</xmax><ymax>5</ymax></bndbox>"
LABELS = [["dog", "cat"], ["dog"], ["cat", "sofa"], ["sofa", "dog"]]
NAMES = ["cat", "dog", "sofa"]


@dataclass(frozen=True)
class Sound:
    """A data set that is read.

    Attributes:
        options: Fields of `DataArguments`.
        files: What each file holds: bytes, text, or a document for JSON and YAML.
    """

    options: dict[str, Any]
    files: dict[Path, Any]


def _images(folder: Path, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(LABELS)):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        PilImage.fromarray(pixels).save(folder / f"{number}{suffix}")


def _csv(root: Path) -> Sound:
    _images(root)
    rows = "".join(f'{number}.png,{"|".join(labels)},"x, y"\n' for number, labels in enumerate(LABELS))
    return Sound({"train_file": root / "t.csv"}, {root / "t.csv": "image,labels,note\n" + rows})


def _marks(root: Path) -> Sound:
    _images(root)
    marks = [
        ",".join("10?"[(name not in labels) + (number == 3 and name == "cat")] for name in NAMES)
        for number, labels in enumerate(LABELS)
    ]
    rows = "".join(f"{number}.png,{cells}\n" for number, cells in enumerate(marks))
    options = {"train_file": root / "t.csv", "labels_file": root / "labels.txt"}
    return Sound(options, {root / "t.csv": f"image,{','.join(NAMES)}\n" + rows, root / "labels.txt": "\n".join(NAMES)})


def _json_lines(root: Path) -> Sound:
    _images(root)
    rows = [{"image": f"{number}.png", "labels": labels, "unknown": []} for number, labels in enumerate(LABELS)]
    return Sound({"train_file": root / "t.jsonl"}, {root / "t.jsonl": "\n".join(map(json.dumps, rows))})


def _image_folder(root: Path) -> Sound:
    _images(root / "train")
    rows = [{"file_name": f"train/{number}.png", "labels": labels} for number, labels in enumerate(LABELS)]
    return Sound({"data_dir": root}, {root / "metadata.jsonl": "\n".join(map(json.dumps, rows))})


def _label_folders(root: Path) -> Sound:
    files = {}
    for number, labels in enumerate(LABELS):
        for label in labels:
            _images(root / "images")
            path = root / "set" / "train" / label / f"{number}.png"
            files[path] = (root / "images" / f"{number}.png").read_bytes()
    return Sound({"data_dir": root / "set"}, files)


def _voc(root: Path, year: int) -> Sound:
    inner = root / f"VOC{year}"
    _images(inner / "JPEGImages", ".jpg")
    lists = {f"{label}_train": "".join(f"{n} {1 if n % 3 else -1}\n" for n in range(4)) for label in VOC_LABELS}
    lists["train"] = lists["val"] = "0\n1\n2\n3\n"
    files: dict[Path, Any] = {inner / "ImageSets" / "Main" / f"{name}.txt": text for name, text in lists.items()}
    for number, labels in enumerate(LABELS):
        objects = "".join(
            f"<object><name>{label}</name><difficult>{number % 2}</difficult>{BOX}</object>" for label in labels
        )
        text = f"<annotation><filename>{number}.jpg</filename>{SIZE}{objects}</annotation>\n"
        files[inner / "Annotations" / f"{number}.xml"] = text
    return Sound({"data_dir": root, "eval_split": "val", "holdout": 0.0}, files)


def _voc_xml(root: Path) -> Sound:
    _images(root)
    files: dict[Path, Any] = {}
    for number, labels in enumerate(LABELS):
        objects = "".join(f"<object><name>{label}</name><pose>Left</pose>{BOX}</object>" for label in labels)
        text = f"<annotation><filename>{number}.png</filename>{SIZE}{objects}</annotation>\n"
        files[root / f"{number}.xml"] = text
    return Sound({"data_dir": root}, files)


def _coco(root: Path) -> Sound:
    _images(root / "train")
    document = {
        "images": [{"id": n + 1, "file_name": f"{n}.png", "height": 8, "width": 8} for n in range(4)],
        "categories": [{"id": n + 1, "name": name, "supercategory": "thing"} for n, name in enumerate(NAMES)],
        "annotations": [
            {"id": 10 * n + k, "image_id": n + 1, "category_id": NAMES.index(label) + 1, "bbox": [0, 0, 1, 1]}
            for n, labels in enumerate(LABELS)
            for k, label in enumerate(labels)
        ],
    }
    return Sound({"data_dir": root}, {root / "annotations" / "instances_train.json": document})


def _nus_wide(root: Path) -> Sound:
    _images(root / "Flickr" / "a", ".jpg")
    truth = root / "Groundtruth" / "TrainTestLabels"
    files = {truth / f"Labels_{name}_Train.txt": f"{n % 2}\n1\n0\n1\n" for n, name in enumerate(NUS_CONCEPTS)}
    files |= {
        root / "ImageList" / "TrainImagelist.txt": "".join(f"a\\{n}.jpg\r\n" for n in range(4)),
        root / "ConceptsList" / "Concepts81.txt": "\n".join(NUS_CONCEPTS) + "\n",
        root / "NUS_WID_Tags" / "TagList1k.txt": "dog\nblue\nnature\n",
        root / "NUS_WID_Tags" / "Train_Tags1k.dat": "0 1 0\n1 1 0\n0 0 1\n0 1 1\n",
    }
    return Sound({"data_dir": root}, files)


def _label_studio(root: Path) -> Sound:
    _images(root)

    def task(number: int, labels: list[str]) -> dict[str, Any]:
        results = [
            {"from_name": "c", "to_name": "image", "type": "choices", "value": {"choices": labels}},
            {"from_name": "r", "type": "rectanglelabels", "value": {"x": 1.5, "rectanglelabels": labels[:1]}},
        ]
        annotations = [{"id": 1, "was_cancelled": False, "result": results}]
        return {"id": number, "data": {"image": f"/data/upload/1/abcdef01-{number}.png"}, "annotations": annotations}

    return Sound({"train_file": root / "e.json"}, {root / "e.json": list(map(task, range(4), LABELS))})


def _cvat(root: Path) -> Sound:
    _images(root / "images")
    declared = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in NAMES)
    images = "".join(
        f'<image id="{n}" name="{n}.png" width="8" height="8">'
        + "".join(f'<box label="{label}" xtl="1"><attribute name="a">&amp;</attribute></box>' for label in labels)
        + "</image>\n"
        for n, labels in enumerate(LABELS)
    )
    meta = f"<meta><task><name>a &amp; b</name><labels>{declared}</labels></task></meta>"
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}\n{images}</annotations>'
    return Sound({"train_file": root / "annotations.xml"}, {root / "annotations.xml": text})


def _fiftyone(root: Path) -> Sound:
    _images(root / "train" / "data")
    labels: dict[str, Any] = {str(n): names for n, names in enumerate(LABELS)}
    labels["1"] = [{"label": "dog", "bounding_box": [0, 0, 1, 0.5]}]
    labels["2"] = 2
    return Sound({"data_dir": root}, {root / "train" / "labels.json": {"classes": NAMES, "labels": labels}})


def _fiftyone_samples(root: Path) -> Sound:
    _images(root / "data")

    def sample(number: int, labels: list[str]) -> dict[str, Any]:
        found = [{"_cls": "Classification", "label": label} for label in labels]
        tagged = {"filepath": f"data/{number}.png", "tags": ["train"]}
        return tagged | {"tags_of": {"_cls": "Classifications", "classifications": found}, "size": 3}

    return Sound({"data_dir": root}, {root / "samples.json": {"samples": list(map(sample, range(4), LABELS))}})


def _yolo(root: Path) -> Sound:
    _images(root / "images" / "train")
    document = {"path": ".", "train": "images/train", "val": ["images/train"], "nc": 3}
    files: dict[Path, Any] = {root / "data.yaml": document | {"names": {str(n): name for n, name in enumerate(NAMES)}}}
    for number, labels in enumerate(LABELS):
        boxes = "".join(f"{NAMES.index(label)} 0.5 0.5 0.25 0.25\n" for label in labels)
        files[root / "labels" / "train" / f"{number}.txt"] = boxes
    return Sound({"data_dir": root}, files)


def _labelme(root: Path) -> Sound:
    _images(root)
    files = {
        root / f"{n}.json": {
            "version": "5.0",
            "flags": {"night": n == 1, "day": False},
            "shapes": [{"label": label, "points": [[0, 1.5]], "flags": {}} for label in labels],
            "imagePath": f"{n}.png",
            "imageData": None,
        }
        for n, labels in enumerate(LABELS)
    }
    return Sound({"data_dir": root}, files)


def _rows(root: Path) -> dict[str, Any]:
    _images(root)
    indices = [[NAMES.index(label) for label in labels] for labels in LABELS]
    return {"image": [str(root / f"{n}.png") for n in range(4)], "labels": indices}


def _parquet(root: Path) -> Sound:
    features = Features({"image": Image(), "labels": List(ClassLabel(names=NAMES))})
    Dataset.from_dict(_rows(root / "images"), features=features).to_parquet(root / "set" / "train.parquet")
    path = root / "set" / "train.parquet"
    return Sound({"dataset": str(root / "set")}, {path: path.read_bytes()})


def _saved(root: Path) -> Sound:
    features = Features({"image": Image(), "labels": List(ClassLabel(names=NAMES))})
    Dataset.from_dict(_rows(root / "images"), features=features).save_to_disk(root / "set")
    files: dict[Path, Any] = {path: path.read_bytes() for path in (root / "set").glob("*.arrow")}
    files |= {path: json.loads(path.read_text()) for path in (root / "set").glob("*.json")}
    return Sound({"dataset": str(root / "set")}, files)


def _shards(root: Path) -> Sound:
    names = [[NAMES[place] for place in labels] for labels in _rows(root / "images")["labels"]]
    content = {"image": _rows(root / "images")["image"], "labels": names}
    features = Features({"image": Image(), "labels": List(Value("string"))})
    paths = [root / "set" / f"train-0000{number}.parquet" for number in range(2)]
    for number, path in enumerate(paths):
        Dataset.from_dict(content, features=features).shard(2, number).to_parquet(path)
    return Sound({"dataset": "shards", "data_dir": root / "set"}, {path: path.read_bytes() for path in paths})


DATA_SETS: dict[str, list[Callable[[Path], Sound]]] = {
    "csv": [_csv, _marks],
    "jsonl": [_json_lines],
    "imagefolder": [_image_folder],
    "labelfolders": [_label_folders],
    "voc2007": [lambda root: _voc(root, 2007)],
    "voc2012": [lambda root: _voc(root, 2012)],
    "voc": [_voc_xml],
    "coco": [_coco],
    "nuswide": [_nus_wide],
    "labelstudio": [_label_studio],
    "cvat": [_cvat],
    "fiftyone": [_fiftyone, _fiftyone_samples],
    "yolo": [_yolo],
    "labelme": [_labelme],
    "shards": [_shards],
    ANY_PLACE: [_parquet, _saved],
}
"""Makers of data sets by the reader's name."""

WITHOUT_FILES = {"scenes"}
"""Readers that read no file."""
