"""A folder with all that the pages name: photos, tables, data sets, and a trained checkpoint."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sct_hf.data.voc import VOC_LABELS
from sct_hf.training.loop import train
from sct_hf.training.parsing import parse
from tests.docs.pages import ROOT
from tests.words import command_words

PHOTO = "docs/images/cat_and_person.jpg"
_LABELS = ["dog", "sofa", "person", "cat"]
_TRAINING: dict[str, Any] = {
    **{"dataset": "csv", "train_file": "train.csv", "eval_file": "test.csv", "data_dir": "photos"},
    **{
        "output_dir": "outputs/mine",
        "backbone": "test_resnet",
        "backbone_weights": "none",
        "image_size": 64,
        "scorer": "label",
    },
    **{"label_encoder": "minilm", "label_prototypes": False, "hidden_size": 32, "encoder_ffn_dim": 48},
    **{"encoder_attention_heads": 4, "epochs": 1, "batch_size": 8, "ema_decay": 0.9, "holdout": 0},
    **{"num_workers": 0, "cpu_threads": 1, "figures": False, "report_to": "none"},
}


def make_project(folder: Path) -> None:
    """Fill an empty folder; outputs/mine and outputs/scenes are one tiny run with `--scorer label`."""
    for name in ("photo.jpg", "street.jpg", PHOTO):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / PHOTO, folder / name)
    for name in ("scripts", "model_cards"):
        (folder / name).symlink_to(ROOT / name)
    _own_images(folder)
    _vocdevkit(folder / "VOCdevkit" / "VOC2007")
    _coco(folder / "coco")
    with chdir(folder):
        train(parse(command_words(_TRAINING)))
    shutil.copytree(folder / "outputs" / "mine", folder / "outputs" / "scenes")


def _own_images(folder: Path) -> None:
    """Photos, the same as label folders, and tables and an export that list them."""
    labels = {f"{number:04}.jpg": names for number, names in enumerate(_drawn(_LABELS, 24), 1)}
    for seed, place in enumerate(("photos", "new_photos")):
        _photos((folder / place / name for name in labels), seed)
    for name, label in ((name, label) for name, names in labels.items() for label in names):
        (folder / "dataset" / "train" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "photos" / name, folder / "dataset" / "train" / label)
    _write_table(folder / "labels.csv", labels)
    _write_table(folder / "train.csv", dict(list(labels.items())[:16]))
    _write_table(folder / "test.csv", dict(list(labels.items())[16:]))
    choices = {"from_name": "tags", "to_name": "image", "type": "choices"}
    tasks = [
        {"data": {"image": f"photos/{name}"}, "annotations": [{"result": [choices | {"value": {"choices": names}}]}]}
        for name, names in labels.items()
    ]
    (folder / "export.json").write_text(json.dumps(tasks), encoding="utf-8")


def _vocdevkit(folder: Path) -> None:
    """Train with 40 images, val and test with 20; each label is in all three."""
    ids = [f"{number:06}" for number in range(80)]
    labels = dict(zip(ids, _drawn(VOC_LABELS, len(ids)), strict=True))
    _photos((folder / "JPEGImages" / f"{name}.jpg" for name in ids), seed=2)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for name, names in labels.items():
        objects = "".join(f"<object><name>{label}</name><difficult>0</difficult></object>" for label in names)
        (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>", encoding="utf-8")
    for split, part in {"train": ids[:40], "val": ids[40:60], "test": ids[60:]}.items():
        (lists / f"{split}.txt").write_text("\n".join(part), encoding="utf-8")
        for label in VOC_LABELS:
            marks = (f"{name} {1 if label in labels[name] else -1}" for name in part)
            (lists / f"{label}_{split}.txt").write_text("\n".join(marks), encoding="utf-8")


def _coco(folder: Path) -> None:
    (folder / "annotations").mkdir(parents=True)
    for seed, split in enumerate(("train2017", "val2017"), 3):
        labels = _drawn(_LABELS, 24)
        files = {number: f"{number:012}.jpg" for number in range(1, len(labels) + 1)}
        _photos((folder / split / name for name in files.values()), seed)
        content = {
            "images": [{"id": number, "file_name": name} for number, name in files.items()],
            "categories": [{"id": number, "name": name} for number, name in enumerate(_LABELS)],
            "annotations": [
                {"image_id": number, "category_id": _LABELS.index(name)}
                for number, names in enumerate(labels, 1)
                for name in names
            ],
        }
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")


def _drawn(names: Sequence[str], count: int) -> list[list[str]]:
    """One or two labels an image, in turn."""
    pairs = [(names[n % len(names)], names[(n + n // len(names)) % len(names)]) for n in range(count)]
    return [list(dict.fromkeys(pair)) for pair in pairs]


def _photos(paths: Iterable[Path], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)


def _write_table(path: Path, rows: Mapping[str, Sequence[str]]) -> None:
    lines = ["image,labels", *(f"{image},{'|'.join(names)}" for image, names in rows.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
