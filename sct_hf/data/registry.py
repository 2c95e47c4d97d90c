"""Data sets by name."""

import difflib
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sct_hf.data.base import LabelledImages
from sct_hf.data.coco import read_coco
from sct_hf.data.folder import read_folder
from sct_hf.data.hub import read_hub
from sct_hf.data.nus_wide import read_nus_wide
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
    cache_dir: str | Path | None = None,
    **options: Any,
) -> LabelledImages:
    """Read one split of a data set by name.

    Args:
        name: One of `READERS`, or a data set of the Hub ("owner/name") or a folder that `datasets` can load.
        split: Name of the split.
        data_dir: Folder of the data; what it must hold is said by each reader.
        files: For csv and jsonl: the file or files of the split.
        difficult: For voc: what a label with only difficult objects counts as; data sets without them ignore it.
        skip_missing_images: Leave out listed pictures whose file is missing or broken instead of raising.
        image_column: For csv, jsonl, imagefolder and the Hub: the column of the pictures.
        label_column: For csv, jsonl, imagefolder and the Hub: the column of the label lists.
        cache_dir: Where downloaded or rendered data is kept; by default the cache of `datasets`.
        **options: Further options of the reader, such as `size` and `seed` of scenes.

    Raises:
        InputError: An unknown name, an option the reader does not take or lacks, or whatever the reader finds wrong.
    """
    reader = _reader(name)
    accepted = inspect.signature(reader).parameters
    universal = {"difficult": difficult, "skip_missing_images": skip_missing_images, "cache_dir": cache_dir}
    specific = {"data_dir": data_dir, "files": files, "image_column": image_column, "label_column": label_column}
    given = {field: value for field, value in {**specific, **options}.items() if value is not None}
    strange = [field for field in given if field not in accepted]
    if strange:
        raise InputError(
            f"{strange[0]} is {given[strange[0]]!r}, but data set {name!r} takes no {strange[0]}: leave it out"
        )
    required = [field for field, parameter in accepted.items() if parameter.default is parameter.empty]
    for field in required:
        if field in specific and field not in given:
            raise InputError(f"{field} is not given, but data set {name!r} needs it: pass {field}")
    return reader(split, **given, **{field: value for field, value in universal.items() if field in accepted})


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
