"""Data sets by name."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sct_hf.data.base import LabelledImages
from sct_hf.data.coco import read_coco
from sct_hf.data.exports.cvat import read_cvat
from sct_hf.data.exports.fiftyone import read_fiftyone
from sct_hf.data.exports.label_studio import read_label_studio
from sct_hf.data.exports.labelme import read_labelme
from sct_hf.data.exports.yolo import read_yolo
from sct_hf.data.folder import read_folder
from sct_hf.data.hub import read_hub
from sct_hf.data.label_folders import read_label_folders
from sct_hf.data.listing import FileReader, Listing, read_label_names
from sct_hf.data.nus_wide import read_nus_wide
from sct_hf.data.problems import Problems
from sct_hf.data.scenes import read_scenes
from sct_hf.data.tables import read_csv, read_jsonl
from sct_hf.data.voc import read_voc2007, read_voc2012
from sct_hf.errors import InputError

READERS: dict[str, Callable[..., LabelledImages]] = {
    "scenes": read_scenes,
    "voc2007": read_voc2007,
    "voc2012": read_voc2012,
    "coco": read_coco,
    "nuswide": read_nus_wide,
    "csv": read_csv,
    "jsonl": read_jsonl,
    "imagefolder": read_folder,
    "labelfolders": read_label_folders,
    "labelstudio": read_label_studio,
    "cvat": read_cvat,
    "fiftyone": read_fiftyone,
    "yolo": read_yolo,
    "labelme": read_labelme,
}
"""Readers by the name of the data set. Each takes the split and, by keyword, the options of `load_data` it knows."""


def load_data(
    name: str,
    split: str,
    *,
    data_dir: str | Path | None = None,
    files: str | Path | Sequence[str | Path] | None = None,
    difficult: Literal["negative", "ignore"] = "negative",
    skip_missing_images: bool = False,
    image_column: str | None = None,
    label_column: str | None = None,
    labels_file: str | Path | None = None,
    cache_dir: str | Path | None = None,
    **options: Any,
) -> LabelledImages:
    """Read one split of a data set by name.

    Args:
        name: One of `READERS`, or a data set of the Hub ("owner/name") or a folder that `datasets` can load.
        split: Name of the split.
        data_dir: Folder of the data; what it must hold is said by each reader.
        files: For csv, jsonl, and exports of labelling tools: the file or files of the split.
        difficult: For voc: what a label with only difficult objects counts as; data sets without them ignore it.
        skip_missing_images: Leave out listed images whose file is missing or broken instead of raising.
        image_column: For csv, jsonl, imagefolder, labelstudio and the Hub: the column of the images.
        label_column: For csv, jsonl, imagefolder, labelstudio, fiftyone and the Hub: the column of the labels.
        labels_file: Text file with all labels, one a line, in order; by default those that the data have.
        cache_dir: Where downloaded or rendered data is kept; by default the cache of `datasets`.
        **options: Further options of the reader, such as `size` and `seed` of scenes.

    Raises:
        InputError: An unknown name, an option the reader does not take or lacks, or whatever the reader finds wrong.
    """
    reader = _reader(name)
    universal = {"difficult": difficult, "skip_missing_images": skip_missing_images, "cache_dir": cache_dir}
    specific = {"data_dir": data_dir, "files": files, "image_column": image_column, "label_column": label_column}
    accepted = inspect.signature(reader).parameters
    applying = {field: value for field, value in universal.items() if field in accepted}
    return reader(split, **_given(name, reader, specific, labels_file, options), **applying)


def list_data(
    name: str,
    split: str,
    problems: Problems,
    *,
    data_dir: str | Path | None = None,
    files: str | Path | Sequence[str | Path] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    labels_file: str | Path | None = None,
) -> Listing:
    """List one split of the user's own files, without looking at an image.

    Args:
        name: A name for which `lists_files` holds.
        split: Name of the split.
        problems: Where to add what is wrong with the files.
        data_dir: As for `load_data`.
        files: As for `load_data`.
        image_column: As for `load_data`.
        label_column: As for `load_data`.
        labels_file: As for `load_data`.

    Raises:
        InputError: An option the reader does not take or lacks.
    """
    reader = _reader(name)
    if not isinstance(reader, FileReader):
        raise InputError(f"dataset is {name!r}, which is no list of files: its reader checks it")
    specific = {"data_dir": data_dir, "files": files, "image_column": image_column, "label_column": label_column}
    return reader.list_split(split, problems, **_given(name, reader, specific, labels_file, {}))


def lists_files(name: str) -> bool:
    """Whether a data set is a user's own files, which `list_data` lists and `sct_hf.data.checks` checks."""
    return isinstance(READERS.get(name), FileReader)


def _given(
    name: str,
    reader: Callable[..., LabelledImages],
    specific: Mapping[str, Any],
    labels_file: str | Path | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The options that are given, as the reader takes them."""
    accepted = inspect.signature(reader).parameters
    given = {field: value for field, value in {**specific, **options}.items() if value is not None}
    asked = given if labels_file is None else {**given, "labels_file": labels_file}
    known = {*accepted, *(["labels_file"] if "label_names" in accepted else [])}
    for field, value in asked.items():
        if field not in known:
            raise InputError(f"{field} is {value!r}, but data set {name!r} takes no {field}: leave it out")
    for field, parameter in accepted.items():
        if parameter.default is parameter.empty and field in specific and field not in given:
            raise InputError(f"{field} is not given, but data set {name!r} needs it: pass {field}")
    return given if labels_file is None else {**given, "label_names": list(read_label_names(labels_file))}


def _reader(name: str) -> Callable[..., LabelledImages]:
    if name in READERS:
        return READERS[name]
    if "/" in name or Path(name).is_dir():
        return partial(read_hub, name=name)
    near = difflib.get_close_matches(name, READERS, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise InputError(
        f"dataset is {name!r}: give one of {', '.join(READERS)}, a name on the Hub such as owner/name, "
        f"or a folder{hint}"
    )
