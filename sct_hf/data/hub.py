"""Data sets of the Hub, and folders that `datasets` can load, by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, Image, List, load_dataset, load_from_disk
from datasets.exceptions import DatasetsError

from sct_hf.data.base import LabelledImages, features_for
from sct_hf.data.rows import check_files
from sct_hf.data.tables import LABEL_COLUMNS, UNKNOWN_COLUMN
from sct_hf.errors import InputError

_NO_IMAGE = Path("<no image>")


def read_hub(
    split: str,
    *,
    name: str,
    config: str | None = None,
    revision: str | None = None,
    data_dir: str | Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    label_names: Sequence[str] | None = None,
    skip_missing_images: bool = False,
    cache_dir: str | Path | None = None,
) -> LabelledImages:
    """Read one split of a data set by its name on the Hub, or from a folder on disk.

    The labels of an image are a list of `ClassLabel`, of names or of numbers, one such value, or that list within
    the objects of a detection data set, as in `label_column="objects.category"`. A column `unknown` of the same kind
    names labels that nobody judged. A column `image_id` is kept.

    Args:
        split: Name of the split, or a slice such as "train[:10%]".
        name: "owner/name", a folder with data files, or a folder written by `save_to_disk`.
        config: Configuration of the data set, if it has several.
        revision: Branch, tag or commit on the Hub.
        data_dir: Folder within the data set.
        image_column: Column of the images; by default the only one of type `Image`.
        label_column: Column of the labels; by default the first there is of labels, label, tags, categories.
        label_names: Names of numbered labels, or all names, in order; by default those of `ClassLabel`, or those
            found, sorted.
        skip_missing_images: Leave out images that are missing or broken instead of raising.
        cache_dir: Where downloads are kept; by default the cache of `datasets`.

    Raises:
        InputError: No such data set, split or column, labels of another kind, missing or broken images.
    """
    source = _load(name, split, config, revision, data_dir, cache_dir)
    image_column = image_column or _only_image_column(source, name)
    label_column = label_column or next((column for column in LABEL_COLUMNS if column in source.features), "labels")
    for field, column in (("image_column", image_column), ("label_column", label_column)):
        if column.split(".")[0] not in source.features:
            raise InputError(f"{field} is {column!r}, but data set {name!r} has only {', '.join(source.features)}")
    labels, names = _label_lists(source, label_column, name)
    unknown: list[list[Any]] = [[] for _ in labels]
    if UNKNOWN_COLUMN in source.features:
        unknown, _ = _label_lists(source, UNKNOWN_COLUMN, name)
    names = _names(names, label_names, [*labels, *unknown], name)
    features = features_for(names)
    ids = (
        source["image_id"]
        if "image_id" in source.features
        else (f"{split}-{index:06d}" for index in range(len(source)))
    )
    known = _encoded(labels, names, name)
    columns: dict[str, list[Any]] = {
        "image_id": [str(image_id) for image_id in ids],
        "labels": [sorted(row) for row in known],
        "unknown": [sorted(row - shown) for row, shown in zip(_encoded(unknown, names, name), known, strict=True)],
    }
    dataset = source.select_columns([image_column])
    if image_column != "image":
        dataset = dataset.rename_column(image_column, "image")
    dataset = dataset.cast_column("image", Image())
    for column, values in columns.items():
        dataset = dataset.add_column(column, values, feature=features[column])
    dataset = dataset.select_columns(list(features))
    kept, skipped = check_files(
        _paths(dataset), columns["image_id"], name=name, split=split, skip_missing_images=skip_missing_images
    )
    return LabelledImages(dataset.select(kept) if skipped else dataset, name, split, skipped)


def _load(
    name: str,
    split: str,
    config: str | None,
    revision: str | None,
    data_dir: str | Path | None,
    cache_dir: str | Path | None,
) -> Dataset:
    if (Path(name) / "dataset_dict.json").is_file() or (Path(name) / "state.json").is_file():
        saved = load_from_disk(name)
        if isinstance(saved, DatasetDict):
            if split not in saved:
                raise InputError(f"split is {split!r}, but data set {name!r} has {', '.join(saved)}")
            saved = saved[split]
        return saved
    try:
        return load_dataset(
            name,
            config,
            split=split,
            revision=revision,
            data_dir=None if data_dir is None else str(data_dir),
            cache_dir=None if cache_dir is None else str(cache_dir),
        )
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise InputError(f"dataset is {name!r}, split {split!r}: it cannot be loaded: {error}") from error


def _only_image_column(source: Dataset, name: str) -> str:
    found = [column for column, feature in source.features.items() if isinstance(feature, Image)]
    if len(found) != 1:
        raise InputError(
            f"data set {name!r} has {len(found)} columns of images among {', '.join(source.features)}: "
            "set image_column"
        )
    return found[0]


def _label_lists(source: Dataset, column: str, name: str) -> tuple[list[list[Any]], list[str] | None]:
    """The values of each image, and their names if the column is of `ClassLabel`."""
    root, *keys = column.split(".")
    feature: Any = source.features[root]
    values = source.select_columns([root]).with_format("arrow")[:][root].to_pylist()
    for key in keys:
        fields = feature.feature if isinstance(feature, List) else feature
        if not isinstance(fields, dict) or key not in fields:
            raise InputError(
                f"label_column is {column!r}, but {root!r} of data set {name!r} is {source.features[root]}"
            )
        nested = isinstance(feature, List)
        feature = List(fields[key]) if nested else fields[key]
        values = [[item[key] for item in row or []] if nested else (row or {}).get(key) for row in values]
    if not isinstance(feature, List):
        feature, values = List(feature), [[] if value is None else [value] for value in values]
    names = list(feature.feature.names) if isinstance(feature.feature, ClassLabel) else None
    return [[] if row is None else row for row in values], names


def _names(own: list[str] | None, given: Sequence[str] | None, rows: list[list[Any]], name: str) -> list[str]:
    if own is not None:
        if given is not None and list(given) != own:
            raise InputError(f"label_names is {list(given)}, but data set {name!r} has its own: {own}; leave it out")
        return own
    found = {label for row in rows for label in row}
    if given is not None:
        return list(given)
    if not all(isinstance(label, str) for label in found):
        raise InputError(
            f"the labels of data set {name!r} are {sorted(map(str, found))[:5]}…, without names: set label_names"
        )
    return sorted(found)


def _encoded(rows: list[list[Any]], names: list[str], name: str) -> list[set[int]]:
    column_of: dict[Any, int] = {label: column for column, label in enumerate(names)}
    column_of.update(enumerate(range(len(names))))
    try:
        return [{column_of[label] for label in row} for row in rows]
    except KeyError as error:
        raise InputError(
            f"data set {name!r} has the label {error}, which is none of its {len(names)} names "
            f"({', '.join(names[:10])}…): set label_names, or take a split that has labels"
        ) from error


def _paths(dataset: Dataset) -> list[Path | None]:
    """The local file of each image that has no bytes; None where there are bytes or the place is remote."""
    paths: list[Path | None] = []
    for batch in dataset.select_columns(["image"]).with_format("arrow").iter(1000):
        image: pa.Array = batch["image"].combine_chunks()
        has_bytes = image.field("bytes").is_valid().to_pylist()
        for whole, path in zip(has_bytes, image.field("path").to_pylist(), strict=True):
            paths.append(None if whole or (path and "://" in path) else Path(path) if path else _NO_IMAGE)
    return paths
