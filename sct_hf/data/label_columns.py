"""Columns of label cells (text, lists or numbers) as lists of names, for tables and Hub data sets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sct_hf.data.cells import items_in, separator_hint
from sct_hf.data.names import UnusableError, clean_name, shown
from sct_hf.data.problems import Problems
from sct_hf.data.vectors import are_numbers, decode_numbers

_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_SCORED = re.compile(r".*[^\d\W]:\s*\d*\.\d+")
_PARTING = re.compile(r"[\s,;|]+")
_NUMBERS = re.compile(rf"{_NUMBER.pattern}(?:{_PARTING.pattern}{_NUMBER.pattern})*")
_Rows = list[list[Any] | None]


@dataclass
class LabelLists:
    """The labels of each image in a column; None for a cell that cannot be read.

    Attributes:
        labels: Names of the labels that each image shows.
        unknown: Names of its unknown labels.
        notes: Notes on odd cells.
    """

    labels: list[list[str] | None]
    unknown: list[list[str] | None]
    notes: list[str] = field(default_factory=list)


def label_lists(
    cells: Sequence[Any],
    unknown: Sequence[Any],
    places: Sequence[str],
    column: str,
    names: Sequence[str] | None,
    separator: str,
    problems: Problems,
    *,
    indices_only: bool = False,
    declared: bool = False,
) -> LabelLists:
    """Read the cells of a column of labels, and those of a column of unknown labels.

    Args:
        cells: The N cells, see `sct_hf.data.cells.items_in`.
        unknown: N cells of unknown labels; None for an image without one.
        places: File and line of each cell.
        column: Name of the column.
        names: All labels in order, if known; required for numbers.
        separator: Separator between labels in a text cell.
        problems: Collects the errors.
        indices_only: See `decode_numbers`.
        declared: See `decode_numbers`.
    """
    notes = [hint] if (hint := separator_hint(cells, separator)) else []
    items = _items(cells, places, column, separator, problems)
    more = _items(unknown, places, "unknown", separator, problems)
    items = _numbers_of_text(items, names)
    readable = [row for row in items if row is not None]
    if not are_numbers(readable):
        found = {item for row in readable for item in row if isinstance(item, str)}
        if names is None and found and all(map(_NUMBER.fullmatch, found)):
            notes.append(f"the labels are numbers, such as {shown(min(found))}: write names if they have any")
        elif scored := sorted(name for name in found if _SCORED.fullmatch(name)):
            notes.append(f"labels such as {shown(scored[0])} end in a number, which is read as a part of the name")
        labels = _names(items, places, column, problems)
        return LabelLists(labels, _names(more, places, "unknown", problems), notes)
    try:
        read = decode_numbers(readable, names, indices_only=indices_only, declared=declared)
        beside = [row for row in more if row]
        left = decode_numbers([row or [] for row in more], names, indices_only=True) if are_numbers(beside) else None
    except UnusableError as error:
        wrong = next((place for place, row in zip(places, items, strict=True) if row), places[0])
        problems.add("labels are numbers", wrong, f"{column}: {error.text}", error.remedy)
        return LabelLists([None] * len(cells), [None] * len(cells), notes)
    rows = zip(read.present, read.unknown, strict=True)
    both = [None if row is None else next(rows) for row in items]
    also = left.present if left else [row or [] for row in _names(more, places, "unknown", problems)]
    return LabelLists(
        [pair and pair[0] for pair in both],
        [pair and list(dict.fromkeys([*pair[1], *extra])) for pair, extra in zip(both, also, strict=True)],
        notes,
    )


def _numbers_of_text(rows: _Rows, names: Sequence[str] | None) -> _Rows:
    """The rows, as numbers where they are numbers as text: indices or marks of known names, or surely 0/1 vectors."""
    filled = [row for row in rows if row]
    texts = all(isinstance(item, str) and _NUMBERS.fullmatch(item) for row in filled for item in row)
    if not filled or not texts or (names is not None and {item for row in filled for item in row} <= set(names)):
        return rows
    words = [None if row is None else [word for item in row for word in _PARTING.split(item)] for row in rows]
    vectors = any(row and len(set(row)) < len(row) and set(row) <= {"0", "1", "-1", "0.0", "1.0"} for row in words)
    if names is None and not vectors:
        return rows
    return [row and [float(word) if "." in word else int(word) for word in row] for row in words]


def _items(cells: Sequence[Any], places: Sequence[str], column: str, separator: str, problems: Problems) -> _Rows:
    rows: _Rows = []
    for cell, place in zip(cells, places, strict=True):
        try:
            single = isinstance(cell, int | float)
            rows.append([cell] if single else items_in(cell, separator))
        except UnusableError as error:
            problems.add("wrong labels", place, f"{column} {error.text}", error.remedy)
            rows.append(None)
    return rows


def _names(rows: _Rows, places: Sequence[str], column: str, problems: Problems) -> list[list[str] | None]:
    lists: list[list[str] | None] = []
    for row, place in zip(rows, places, strict=True):
        try:
            lists.append(None if row is None else list(dict.fromkeys(map(clean_name, row))))
        except UnusableError as error:
            problems.add("wrong labels", place, f"{column}: {error.text}", error.remedy)
            lists.append(None)
    return lists
