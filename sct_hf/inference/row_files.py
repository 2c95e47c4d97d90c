"""Rows of results as files: written whole, and read back row by row."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from sct_hf.errors import InputError
from sct_hf.escaping import csv_cell, from_csv_cell, in_lines
from sct_hf.extras import install_line
from sct_hf.files import atomic_write
from sct_hf.inference.formats import TEXTS, TextFormat
from sct_hf.inference.rows import BOX, Columns

_AT_ONCE = 1000  # rows

Row = dict[str, Any]


@dataclass(frozen=True)
class RowFormat:
    """How rows lie in a file.

    Attributes:
        name: Its name, which is also the ending of its files.
        write: Writes rows of some columns, taken as they are needed, to a file.
        read: Gives the rows of a file; None if it cannot be read back.
        key: What `read` gives as `path` of an image of this name.
    """

    name: str
    write: Callable[[Iterable[Row], Columns, Path], None]
    read: Callable[[Path], Iterator[Row]] | None = None
    key: Callable[[str], str] = str


def write_whole(rows: Iterable[Row], columns: Columns, form: RowFormat, path: Path) -> None:
    """Write a file of rows, whole or not at all.

    Raises:
        OSError: It cannot be written; a former file is then unchanged.
    """
    with atomic_write(path) as temporary:
        form.write(rows, columns, temporary)


def _text_writer(make: Callable[[Columns], TextFormat]) -> Callable[[Iterable[Row], Columns, Path], None]:
    def write(rows: Iterable[Row], columns: Columns, path: Path) -> None:
        text = make(columns)
        rest = iter(rows)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text.start())
            while some := list(islice(rest, _AT_ONCE)):
                file.write(text.add(some))
            file.write(text.end())

    return write


def _write_parquet(rows: Iterable[Row], columns: Columns, path: Path) -> None:
    with _arrow():
        import pyarrow
        import pyarrow.parquet as parquet
    schema = columns.schema()
    blank: Row = {name: [] for name in schema.names if name not in ("path", "error")}
    rest = (
        {**blank, **row, "path": _in_utf8(row["path"]), "error": row["error"] and _in_utf8(row["error"])}
        for row in rows
    )
    with parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(rest, _AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(some, schema=schema))


def _read_parquet(path: Path) -> Iterator[Row]:
    with _arrow():
        import pyarrow.parquet as parquet
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_AT_ONCE):
            yield from batch.to_pylist()


def _read_json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            yield _row(entry["path"], entry["tags"], entry.get("error"))


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        for name, lines in groupby(csv.DictReader(file), itemgetter("path")):
            cells = list(lines)
            tags = [_tag(line) for line in cells if line["score"]]
            yield _row(from_csv_cell(name), tags, from_csv_cell(cells[0]["error"]) or None)


def _tag(line: dict[str, str]) -> dict[str, Any]:
    tag: dict[str, Any] = {"label": from_csv_cell(line["label"]), "score": float(line["score"])}
    tag |= {name: line[name] == "True" for name in ("seen", "unsure") if name in line}
    return tag | ({"box": {name: int(line[name]) for name in BOX}} if BOX[0] in line else {})


def _row(name: str, tags: list[dict[str, Any]], error: str | None) -> Row:
    """The row of an entry; of columns beside labels and scores, those that its tags have."""
    row: Row = {"path": name, "labels": [tag["label"] for tag in tags], "scores": [tag["score"] for tag in tags]}
    for key, column in (("seen", "seen"), ("unsure", "unsure"), ("box", "boxes")):
        if tags and key in tags[0]:
            row[column] = [tag[key] for tag in tags]
    return row | {"error": error}


def _in_utf8(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a file's name that are no UTF-8 are written as Python escapes them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _key_of_csv(name: str) -> str:
    return from_csv_cell(in_lines(csv_cell(name)))


@contextmanager
def _arrow() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"format: parquet needs pyarrow, which is not installed: {install_line('pyarrow')}"
        ) from error


ROW_FORMATS = {
    "parquet": RowFormat("parquet", _write_parquet, _read_parquet, _in_utf8),
    "csv": RowFormat("csv", _text_writer(TEXTS["csv"]), _read_csv, _key_of_csv),
    "jsonl": RowFormat("jsonl", _text_writer(TEXTS["jsonl"]), _read_json_lines),
    "json": RowFormat("json", _text_writer(TEXTS["json"])),
    "table": RowFormat("table", _text_writer(TEXTS["table"])),
}
"""The formats of files of results. Parts of a folder are in one that can be read back."""
