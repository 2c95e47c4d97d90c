"""Data sets of the Hub, and folders that `datasets` can load, by name."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Image, List, load_dataset, load_from_disk

from sct_hf.data.damage import named_damage
from sct_hf.data.image_sources import ImageColumn
from sct_hf.data.label_columns import label_lists
from sct_hf.data.listing import Listing, Record, declared_names
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import ANY_PLACE, Request, register_reader
from sct_hf.data.shards.index import INDEX
from sct_hf.data.tables import LABEL_COLUMNS, UNKNOWN_COLUMN
from sct_hf.errors import InputError

_PAIR = 2


def _sign(place: Path) -> dict[str, Path] | None:
    """A folder of `save_to_disk`, or one with Parquet files that are no shards."""
    if (place / INDEX).is_file():
        return None
    saved = any((place / name).is_file() for name in ("dataset_info.json", "dataset_dict.json"))
    tables = place.is_dir() and any(next(place.glob(kind), None) for kind in ("*.parquet", "data/*.parquet"))
    return {"dataset": place} if saved or tables else None


@register_reader(
    ANY_PLACE,
    title="",
    takes=["data_dir", "image_column", "label_column", "label_names", "separator", "config", "revision"],
    published=True,
    sign=_sign,
    layout="a folder of save_to_disk, or of Parquet files",
)
def list_hub(request: Request, problems: Problems) -> Listing:
    """List a split of a data set on the Hub, or of a folder on disk.

    The labels of an image are a list of `ClassLabel`, of names or of numbers, or one such value. The list may be
    inside the objects of a detection data set, as in `label_column="objects.category"`. Labels may also be text, as in
    a table (`sct_hf.data.cells`), or a 0/1 vector (`sct_hf.data.vectors`). A column `unknown` of the same kind has
    unknown labels. A column `image_id` is kept.

    Args:
        request: `dataset`, "owner/name", a folder with data files, or a folder written by `save_to_disk`; `split`, its
            name, or a slice such as "train[:10%]"; `config`, `revision`, `data_dir` inside it. The default image
            column is the only one of type `Image`. The default label column is the first of labels, label, tags,
            categories. `label_names` are all labels, in order; by default those of `ClassLabel`, or those found,
            sorted.
        problems: Collects rows that cannot be used.

    Raises:
        InputError: The data set, split or column does not exist, or it has other label names.
    """
    name, split = request.dataset, request.split
    source = _load(request)
    image_column = request.image_column or _only_image_column(source, name)
    usual = next((column for column in LABEL_COLUMNS if column in source.features), "labels")
    label_column = request.label_column or usual
    for field, column in (("image_column", image_column), ("label_column", label_column)):
        if column.split(".")[0] not in source.features:
            raise InputError(f"{field} is {column!r}, but data set {name!r} has only {', '.join(source.features)}")
    with _reading(request):
        cells, value, nested = _cells(source, label_column, name)
        unknown: list[Any] = [None] * len(source)
        if UNKNOWN_COLUMN in source.features and label_column != UNKNOWN_COLUMN:
            unknown, _, _ = _cells(source, UNKNOWN_COLUMN, name)
        ids = list(map(str, source["image_id"])) if "image_id" in source.features else _numbered(split, len(source))
        images = source.select_columns([image_column])
        if image_column != "image":
            images = images.rename_column(image_column, "image")
        images = images.cast_column("image", Image(decode=False))
    listing = Listing(f"{name} {split}")
    names = _names(value, cells, request.label_names, name, problems)
    places = [f"{name}, {split}[{row}]" for row in range(len(source))]
    lists = label_lists(
        cells,
        unknown,
        places,
        label_column,
        names,
        request.parting,
        problems,
        indices_only=nested or _is_single(cells),
        declared=isinstance(value, ClassLabel) and request.label_names is None,
    )
    listing.label_names = None if names is None else list(names)
    listing.notes += [f"{name}, {split}: {note}" for note in lists.notes]
    listing.records = [
        Record(place, image_id, None, labels or [], without or [])
        for place, image_id, labels, without in zip(places, ids, lists.labels, lists.unknown, strict=True)
    ]
    listing.images = ImageColumn(images)
    return listing


def _numbered(split: str, count: int) -> list[str]:
    return [f"{split}-{index:06d}" for index in range(count)]


def _load(request: Request) -> Dataset:
    name, split = request.dataset, request.split
    if any(os.path.isfile(Path(name) / file) for file in ("dataset_dict.json", "state.json")):
        with _reading(request):
            saved = load_from_disk(name)
        if isinstance(saved, DatasetDict):
            if split not in saved:
                raise SplitError(split, f"data set {name!r} has {', '.join(saved)}")
            saved = saved[split]
        return saved
    with _reading(request):
        return load_dataset(
            name,
            request.config,
            split=split,
            revision=request.revision,
            data_dir=None if request.data_dir is None else str(request.data_dir),
            cache_dir=None if request.cache_dir is None else str(request.cache_dir),
        )


def _reading(request: Request) -> AbstractContextManager[None]:
    """Name the data set in the error of a library that cannot read it."""
    place = f"dataset is {request.dataset!r}, whose split {request.split!r} cannot be loaded"
    return named_damage(place, "give the name of a data set on the Hub and a split of it, or a folder with data files")


def _only_image_column(source: Dataset, name: str) -> str:
    found = [column for column, feature in source.features.items() if isinstance(feature, Image)]
    if len(found) != 1:
        raise InputError(
            f"data set {name!r} has {len(found)} columns of images among {', '.join(source.features)}: "
            "set image_column"
        )
    return found[0]


def _cells(source: Dataset, column: str, name: str) -> tuple[list[Any], Any, bool]:
    """The value of each image in a column, the type of a label in it, and whether each object has one."""
    root, *keys = column.split(".")
    feature: Any = source.features[root]
    values = source.select_columns([root]).with_format("arrow")[:][root].to_pylist()
    for key in keys:
        fields = feature.feature if isinstance(feature, List) else feature
        if not isinstance(fields, dict) or key not in fields:
            raise InputError(
                f"label_column is {column!r}, but {root!r} of data set {name!r} is {source.features[root]}"
            )
        many = isinstance(feature, List)
        feature = List(fields[key]) if many else fields[key]
        values = [[item[key] for item in row or []] if many else (row or {}).get(key) for row in values]
    return values, feature.feature if isinstance(feature, List) else feature, bool(keys)


def _is_single(cells: Sequence[Any]) -> bool:
    """Whether each image has one number instead of a list."""
    return any(isinstance(cell, int) and not isinstance(cell, bool) for cell in cells)


def _names(
    value: Any, cells: Sequence[Any], given: Sequence[str] | None, name: str, problems: Problems
) -> Sequence[str] | None:
    """The labels in order: the given ones, or those of a `ClassLabel`; None if only the cells have them."""
    if not isinstance(value, ClassLabel):
        return given
    declared = declared_names(value.names, f"data set {name!r}, names of its ClassLabel", problems)
    if given is None or declared is None or list(given) == declared:
        return declared
    if len(declared) == _PAIR and all(isinstance(cell, list) and len(cell) == len(given) for cell in cells):
        return given  # absent and present, a place for each label
    raise InputError(f"labels_file has {list(given)}, but data set {name!r} has its own: {declared}; leave it out")
