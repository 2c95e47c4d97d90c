"""Load one split of a data set by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sct_hf.data.assemble import labelled_images
from sct_hf.data.base import LabelledImages
from sct_hf.data.listing import are_too_many, check_names, read_label_names
from sct_hf.data.problems import Problems
from sct_hf.data.registry import list_data
from sct_hf.errors import InputError


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
    label_names: Sequence[str] | None = None,
    separator: str | None = None,
    cache_dir: str | Path | None = None,
    **options: Any,
) -> LabelledImages:
    """Read one split of a data set by name: list it, open each image once, and make targets from its labels.

    Args:
        name: One of `READERS`, or a data set of the Hub ("owner/name") or a folder that `datasets` can load.
        split: Name of the split.
        data_dir: Folder of the data; each reader describes its content.
        files: For csv, jsonl, and exports of labelling tools: the file or files of the split.
        difficult: Meaning of a label with only difficult objects (VOC): "negative", as in training, or "ignore",
            unknown, as in the official evaluation.
        skip_missing_images: Skip missing or broken images instead of raising.
        image_column: For csv, jsonl, imagefolder, labelstudio and the Hub: the column of the images.
        label_column: For csv, jsonl, imagefolder, labelstudio, fiftyone and the Hub: the column of the labels.
        labels_file: Text file with all labels, one per line, in order; by default the labels found in the data.
        label_names: These labels, instead of a file.
        separator: For csv, jsonl, imagefolder and the Hub: the separator between labels in a cell, as comma, pipe,
            semicolon, space, none, or the character itself; by default any of "|", ";" and ",".
        cache_dir: Folder of downloaded or rendered data; by default the cache of `datasets`.
        **options: Further options of the reader, such as `size` and `seed` of scenes.

    Raises:
        DataError: The data set's files have errors; the message lists all.
        InputError: The name is unknown, an option is missing or not the reader's, or images are missing or broken.
    """
    if difficult not in ("negative", "ignore"):
        raise InputError(f"difficult is {difficult!r}: give 'negative' or 'ignore'")
    if labels_file is not None:
        label_names = list(read_label_names(labels_file))
    options |= {"data_dir": data_dir, "files": files, "image_column": image_column, "label_column": label_column}
    options |= {"label_names": label_names, "separator": separator, "cache_dir": cache_dir}
    problems = Problems()
    listing = list_data(name, split, problems, **options)
    names = list(label_names) if label_names is not None else listing.found_names()
    if not are_too_many(names, listing.source, problems):
        check_names(listing, names, problems)
    problems.raise_if_any()
    return labelled_images(
        listing,
        names,
        name=name,
        split=split,
        difficult_unknown=difficult == "ignore",
        skip_missing_images=skip_missing_images,
    )
