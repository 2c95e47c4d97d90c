"""Lists of pictures and their labels in CSV or JSON Lines files."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sct_hf.data.base import LabelledImages
from sct_hf.data.rows import Row, labelled_images
from sct_hf.errors import InputError

IMAGE_COLUMNS = ("image", "file_name", "path", "filename", "image_path", "file")
LABEL_COLUMNS = ("labels", "label", "tags", "categories")
UNKNOWN_COLUMN = "unknown"

_SEPARATORS = re.compile(r"[|;,]")


@dataclass(frozen=True)
class Columns:
    """Where a table keeps what.

    Attributes:
        image: Column of the path; None: the first there is of `IMAGE_COLUMNS`.
        label: Column of the labels; None: the first there is of `LABEL_COLUMNS`.
        separator: What parts the labels of a cell; None: each of "|", ";" and ",".
    """

    image: str | None = None
    label: str | None = None
    separator: str | None = None


@dataclass(frozen=True)
class Record:
    """One line of a table: where it stands, the path as written, and the label names."""

    place: str
    image: str
    path: Path
    labels: list[str]
    unknown: list[str]


def read_table(
    split: str,
    *,
    format: str,
    files: str | Path | Sequence[str | Path] | None = None,
    data_dir: str | Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    separator: str | None = None,
    label_names: Sequence[str] | None = None,
    skip_missing_images: bool = False,
) -> LabelledImages:
    """Read a list with one picture a row: its path, and its labels as a JSON list or in one separated cell.

    A further column `unknown`, written like the labels, names labels that nobody judged in the picture.

    Args:
        split: Name of the split; without `files`, `<data_dir>/<split>.<format>` is read.
        format: "csv" or "jsonl".
        files: The file or files of the split. UTF-8; CSV with a header.
        data_dir: The folder that relative paths start from; by default the folder of the file they stand in.
        image_column: Column of the path; by default the first there is of `IMAGE_COLUMNS`.
        label_column: Column of the labels; by default the first there is of `LABEL_COLUMNS`.
        separator: What parts the labels of a cell; by default each of "|", ";" and ",".
        label_names: All labels, in order; by default those found, sorted.
        skip_missing_images: Leave out pictures whose file is missing or broken instead of raising.

    Raises:
        InputError: No such file or column, a malformed line, a label outside `label_names`, fewer than two labels,
            missing or broken pictures.
    """
    if files is None and data_dir is None:
        raise InputError(f"files is not given: name the {format} file of split {split!r}")
    if files is None:
        paths = [Path(data_dir or "") / f"{split}.{format}"]
    else:
        paths = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
    columns = Columns(image_column, label_column, separator)
    records: list[Record] = []
    for path in paths:
        records += read_records(path, format, Path(data_dir) if data_dir is not None else path.parent, columns)
    return from_records(
        records, label_names=label_names, name=format, split=split, skip_missing_images=skip_missing_images
    )


read_csv = partial(read_table, format="csv")
read_jsonl = partial(read_table, format="jsonl")


def read_records(file: Path, format: str, root: Path, columns: Columns) -> list[Record]:
    """Read the lines of a file of format "csv" or "jsonl", whatever its name; relative paths start from `root`.

    Raises:
        InputError: No such file or column, or a malformed line.
    """
    if not file.is_file():
        raise InputError(f"files names {str(file)!r}: there is no such file")
    records = []
    for place, line in _LINES[format](file):
        image = line[_column("image_column", columns.image, IMAGE_COLUMNS, line, place)]
        label_column = _column("label_column", columns.label, LABEL_COLUMNS, line, place)
        if not isinstance(image, str) or not image:
            raise InputError(f"{place}: the path of the picture is {image!r}: give a path")
        labels = _names(line[label_column], columns.separator, place, label_column)
        unknown = _names(line.get(UNKNOWN_COLUMN), columns.separator, place, UNKNOWN_COLUMN)
        records.append(Record(place, image, (root / image).absolute(), labels, unknown))
    return records


def from_records(
    records: Sequence[Record],
    *,
    label_names: Sequence[str] | None,
    name: str,
    split: str,
    skip_missing_images: bool,
) -> LabelledImages:
    """Build the data set of some lines.

    Args:
        records: The lines.
        label_names: All labels, in order; None for those found, sorted.
        name: Name of the data set.
        split: Name of the split.
        skip_missing_images: Leave out pictures whose file is missing or broken instead of raising.

    Raises:
        InputError: No lines, a label outside `label_names`, fewer than two labels, missing or broken pictures.
    """
    if not records:
        raise InputError(f"split {split!r} of data set {name!r} is empty: there is no picture in it")
    if label_names is None:
        label_names = sorted({label for record in records for label in (*record.labels, *record.unknown)})
    column_of = {label: column for column, label in enumerate(label_names)}
    rows = []
    for record in records:
        for label in (*record.labels, *record.unknown):
            if label not in column_of:
                raise InputError(f"{record.place}: label {label!r} is not one of label_names {list(label_names)}")
        labels, unknown = ([column_of[label] for label in part] for part in (record.labels, record.unknown))
        rows.append(Row(record.image, record.path, labels, unknown))
    return labelled_images(rows, label_names, name=name, split=split, skip_missing_images=skip_missing_images)


def _csv_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with open(file, encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        for line in reader:
            place = f"{file}, line {reader.line_num}"
            if None in line or None in line.values():
                raise InputError(f"{place} has another number of cells than the header: quote cells with commas")
            yield place, line


def _json_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with open(file, encoding="utf-8-sig") as stream:
        for number, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            place = f"{file}, line {number}"
            try:
                line = json.loads(text)
            except ValueError as error:
                raise InputError(f"{place} is not valid JSON: {error}") from error
            if not isinstance(line, dict):
                raise InputError(
                    f'{place} is {line!r}: each line must be an object such as {{"image": …, "labels": […]}}'
                )
            yield place, line


_LINES = {"csv": _csv_lines, "jsonl": _json_lines}


def _column(field: str, given: str | None, usual: Sequence[str], line: dict[str, Any], place: str) -> str:
    """The column asked for, or the first usual one that the line has."""
    for column in usual if given is None else [given]:
        if column in line:
            return column
    wanted = f"one of the usual names ({', '.join(usual)})" if given is None else repr(given)
    raise InputError(f"{place} has no column of {wanted}, only {', '.join(line)}: set {field}")


def _names(cell: Any, separator: str | None, place: str, column: str) -> list[str]:
    """Label names of a cell: a list, a JSON list as text, or separated text."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError as error:
            raise InputError(f"{place}: {column} {cell!r} is not a JSON list: {error}") from error
    elif isinstance(cell, str):
        parts = _SEPARATORS.split(cell) if separator is None else cell.split(separator)
        cell = [part.strip() for part in parts if part.strip()]
    cell = [] if cell is None else cell
    if not isinstance(cell, list) or not all(isinstance(label, str) for label in cell):
        raise InputError(f"{place}: {column} is {cell!r}: give a list of names or names parted by a separator")
    return cell
