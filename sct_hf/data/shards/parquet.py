"""Shards as Parquet files, read in a stream by `datasets`."""

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, Image, List, Value, load_dataset

from sct_hf.data.shards.rows import Row
from sct_hf.data.tables import LABEL_COLUMNS, UNKNOWN_COLUMN
from sct_hf.errors import InputError

_ID = "image_id"
_GROUP = 100  # rows that are compressed together, and read together by random access


class ParquetShards:
    """A row is an image: columns `image`, `labels`, `unknown` and `image_id`, as `LabelledImages.to_dataset` has."""

    def columns(self, file: Path, given: Mapping[str, str]) -> dict[str, str]:
        """See `ShardFormat`.

        Raises:
            InputError: A column does not exist, or none or several may hold the images.
        """
        features = _features(file)
        typed = [name for name, feature in features.items() if isinstance(feature, Image)]
        usual = {
            "image": typed[0] if len(typed) == 1 else "image",
            "labels": next((name for name in LABEL_COLUMNS if name in features), LABEL_COLUMNS[0]),
        }
        for role, field in (("image", "image_column"), ("labels", "label_column")):
            usual[role] = given.get(role, usual[role])
            if usual[role] not in features:
                raise InputError(f"{field} is {usual[role]!r}, but {file} has only {', '.join(features)}: set {field}")
        return {role: column for role, column in usual.items() if role != column}

    def names(self, file: Path, columns: Mapping[str, str]) -> list[str] | None:
        """See `ShardFormat`."""
        feature: Any = _features(file)[columns.get("labels", "labels")]
        value = feature.feature if isinstance(feature, List) else feature
        return list(value.names) if isinstance(value, ClassLabel) else None

    def rows(self, files: Sequence[Path], columns: Mapping[str, str], *, skip: int = 0) -> Iterator[Row]:
        """See `ShardFormat`."""
        names = [columns.get("image", "image"), *_beside(files[0], columns)]
        patterns = [glob.escape(str(file)) for file in files]  # `datasets` takes each for a pattern
        stream: Any = load_dataset("parquet", data_files=patterns, split="train", streaming=True)
        stream = stream.select_columns(names).cast_column(names[0], Image(decode=False))
        for row in stream.skip(skip) if skip else stream:
            yield _row(row, columns, row[names[0]] or {"bytes": None, "path": None})

    def labels(self, files: Sequence[Path], columns: Mapping[str, str]) -> Iterator[Row]:
        """See `ShardFormat`."""
        for file in files:
            with pq.ParquetFile(file) as opened:
                for batch in opened.iter_batches(columns=_beside(file, columns), use_threads=False):
                    yield from (_row(row, columns, {}) for row in batch.to_pylist())

    def image(self, file: Path, columns: Mapping[str, str], row: int) -> dict[str, Any]:
        """See `ShardFormat`."""
        ends = _ends(str(file))
        group = int(np.searchsorted(ends, row, side="right"))
        first = int(ends[group - 1]) if group else 0
        cell = _group(str(file), group, columns.get("image", "image"))[row - first].as_py()
        return cell if isinstance(cell, dict) else {"bytes": cell, "path": None}

    def write(self, file: Path, rows: Iterable[Row], names: Sequence[str]) -> None:
        """See `ShardFormat`."""
        label = ClassLabel(names=list(names))
        features = Features(
            {_ID: Value("string"), "image": Image(), "labels": List(label), UNKNOWN_COLUMN: List(label)}
        )
        schema = features.arrow_schema  # its metadata have the names
        with pq.ParquetWriter(file, schema) as writer:
            rows = iter(rows)
            while part := list(islice(rows, _GROUP)):
                cells = [dict(zip((_ID, "image", "labels", UNKNOWN_COLUMN), row, strict=True)) for row in part]
                writer.write_table(pa.Table.from_pylist(cells, schema))


def _row(row: Mapping[str, Any], columns: Mapping[str, str], image: dict[str, Any]) -> Row:
    image_id = row.get(_ID)
    labels = row[columns.get("labels", "labels")]
    return Row("" if image_id is None else str(image_id), image, labels, row.get(UNKNOWN_COLUMN))


def _beside(file: Path, columns: Mapping[str, str]) -> list[str]:
    """The columns to read besides the image."""
    there = _features(file)
    return [columns.get("labels", "labels"), *(name for name in (_ID, UNKNOWN_COLUMN) if name in there)]


def _features(file: Path) -> Features:
    return _features_of(str(file), file.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _features_of(file: str, _: int) -> Features:
    return Features.from_arrow_schema(pq.read_schema(file))


@lru_cache(maxsize=4096)
def _ends(file: str) -> np.ndarray:
    """The first row after each group."""
    with pq.ParquetFile(file) as opened:
        groups = opened.metadata.num_row_groups
        return np.cumsum([opened.metadata.row_group(group).num_rows for group in range(groups)])


@lru_cache(maxsize=2)
def _group(file: str, group: int, column: str) -> pa.ChunkedArray:
    with pq.ParquetFile(file) as opened:
        return opened.read_row_group(group, columns=[column], use_threads=False).column(0)
