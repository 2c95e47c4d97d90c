"""Labels changed in a CSV or JSON Lines table of the user's, where all else keeps its bytes."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sct_hf.curation.label_cells import changed_cell, usual_sign
from sct_hf.curation.table_spans import (
    Span,
    csv_spans,
    csv_value,
    csv_written,
    json_lines,
    json_spans,
    json_written,
    replaced,
)
from sct_hf.data.listing import Listing, Record, names_of
from sct_hf.data.marks import ABSENT, MARKS, PRESENT
from sct_hf.data.names import clean_name, tidy
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request
from sct_hf.data.tables import LABEL_COLUMNS, UNKNOWN_COLUMN, read_records
from sct_hf.errors import InputError

FORMATS = ("csv", "jsonl")
_BOM = "\ufeff"


@dataclass
class RowChange:
    """What changes in a row: names of labels that become present, and of those that become absent."""

    present: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """A table of labels.

    Attributes:
        path: Its file, .csv or .jsonl.
        request: The columns and the separator.
        text: What is in it.
        records: Its rows, in order.
        label_names: The labels that occur in it: its columns of marks, or those of some row, unknown ones too.
    """

    path: Path
    request: Request
    text: str
    records: list[Record]
    label_names: list[str]

    @classmethod
    def read(cls, path: Path, request: Request) -> "Table":
        """Read a table.

        Raises:
            InputError: It is neither .csv nor .jsonl, or it has problems; all are named.
        """
        if path.suffix.lower().removeprefix(".") not in FORMATS:
            raise InputError(f"table is {str(path)!r}: give a .csv or .jsonl file, or the folder of a training run")
        found = _listing(path, path, request)
        names = {name for record in found.records for name in names_of(record)} | set(found.label_names or ())
        return cls(path, request, path.read_bytes().decode("utf-8"), found.records, sorted(names))

    def changed(self, changes: Mapping[int, RowChange]) -> str:
        """The text with the labels of some rows changed.

        Args:
            changes: By row, of labels in `label_names`. One that becomes present is absent or unknown there, and the
                other way round.

        Raises:
            InputError: The table cannot express the labels.
        """
        bom = _BOM if self.text.startswith(_BOM) else ""
        text = self.text.removeprefix(_BOM)
        edit = _csv_cells if self.path.suffix.lower() == ".csv" else _json_cells
        return bom + replaced(text, edit(text, self, changes))

    def require_as_meant(self, written: Path, changes: Mapping[int, RowChange]) -> None:
        """Read a changed table back, and compare all its rows with what is meant.

        Raises:
            InputError: A row differs.
        """
        found = _listing(written, self.path, self.request).records
        before = [(record.image, *_state(record)) for record in self.records]
        for row, change in changes.items():
            image, present, unknown = before[row]
            told = {*change.present, *change.absent}
            before[row] = image, present - told | set(change.present), unknown - told
        if before != [(record.image, *_state(record)) for record in found]:
            raise InputError(f"table is {str(self.path)!r}, which cannot be changed without changing other rows")


def _listing(path: Path, original: Path, request: Request) -> Listing:
    problems = Problems()
    form = original.suffix.lower().removeprefix(".")
    found = read_records(path, form, original.parent, request, problems)
    problems.raise_if_any()
    return found


def _state(record: Record) -> tuple[set[str], set[str]]:
    return set(record.labels), set(record.unknown) - set(record.labels)


def _csv_cells(text: str, table: Table, changes: Mapping[int, RowChange]) -> dict[Span, str]:
    header, *rows = csv_spans(text)
    names = [tidy(csv_value(text, span)) for span in header]
    column = _label_column(names, table.request.label_column)
    values = [[csv_value(text, span) for span in row] for row in rows]
    signs = {place: usual_sign((row[place] for row in values), table.request.parting)
             for place in (column, _place(names, UNKNOWN_COLUMN)) if place is not None}  # fmt: skip
    cells: dict[Span, str] = {}
    for number, change in changes.items():
        new: dict[int, str] = {}
        if column is None:
            for label, value in [
                *((one, PRESENT) for one in change.present),
                *((one, ABSENT) for one in change.absent),
            ]:
                at = next(each for each, name in enumerate(names) if name and clean_name(name) == label)
                new[at] = _mark(value, [row[at] for row in values], values)
        else:
            new[column] = _labels(values[number][column], change, signs[column], table.request.parting)
        told = [*change.present, *change.absent]
        place = _place(names, UNKNOWN_COLUMN)
        if place is not None and place not in new and set(told) & set(table.records[number].unknown):
            new[place] = changed_cell(values[number][place], told, [], signs[place], table.request.parting)
        for place, cell in new.items():
            span = rows[number][place]
            cells[span] = csv_written(cell, text[slice(*span)])
    return cells


def _json_cells(text: str, table: Table, changes: Mapping[int, RowChange]) -> dict[Span, str]:
    lines = list(json_lines(text))
    spans = [json_spans(text, line) for line in lines]

    def value(number: int, name: str) -> Any:
        return json.loads(text[slice(*spans[number][name])])

    columns = [_label_column(list(of_line), table.request.label_column) or 0 for of_line in spans]
    names = [list(of_line)[column] for of_line, column in zip(spans, columns, strict=True)]
    sign = usual_sign((value(number, name) for number, name in enumerate(names)), table.request.parting)
    cells: dict[Span, str] = {}
    for number, change in changes.items():
        line = text[slice(*lines[number])]
        new = {names[number]: _labels(value(number, names[number]), change, sign, table.request.parting)}
        told = [*change.present, *change.absent]
        if set(told) & set(table.records[number].unknown) and UNKNOWN_COLUMN in spans[number]:
            new[UNKNOWN_COLUMN] = changed_cell(value(number, UNKNOWN_COLUMN), told, [], sign, table.request.parting)
        cells |= {spans[number][name]: json_written(cell, line) for name, cell in new.items()}
    return cells


def _labels(cell: Any, change: RowChange, sign: str, separator: str) -> Any:
    return changed_cell(cell, change.absent, change.present, sign, separator)


def _label_column(names: Sequence[str], given: str | None) -> int | None:
    """The place of the column of labels; None for a table with one column per label. See `read_records`."""
    usual = LABEL_COLUMNS if given is None else [given]
    return next((names.index(name) for name in usual if name in names), None)


def _place(names: Sequence[str], name: str) -> int | None:
    return names.index(name) if name in names else None


def _mark(value: int, column: Collection[str], rows: Sequence[Sequence[str]]) -> str:
    """A mark as its column writes it, or else another column; "1" or "0" if none does."""
    everywhere = (cell for row in rows for cell in row)
    for cells in (column, everywhere):
        counts = Counter(cell.strip() for cell in cells if MARKS.get(cell.strip().lower()) == value)
        if counts:
            return max(counts, key=lambda mark: counts[mark])
    return str(value)
