"""Numbers instead of names: 0/1 vectors or indices of labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sct_hf.data.names import UnusableError, shown

_REMEDY = "write names, or name the labels in their order, one a line, by labels_file"


@dataclass(frozen=True)
class NumberRows:
    """The labels of each image, read from numbers.

    Attributes:
        present: Names of the labels that each image shows.
        unknown: Names of the labels that its vector marks -1 or nan.
    """

    present: list[list[str]]
    unknown: list[list[str]]


def are_numbers(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether some entry is a number or a boolean, and none has another type."""
    found = False
    for row in rows:
        for item in row:
            if not isinstance(item, int | float):
                return False
            found = True
    return found


def decode_numbers(
    rows: Sequence[Sequence[Any]], names: Sequence[str] | None, *, indices_only: bool = False, declared: bool = False
) -> NumberRows:
    """Read rows of numbers as 0/1 vectors or as indices of labels.

    A vector has one entry per label: 1 present, 0 absent, -1 or nan unknown. Sure signs of vectors are booleans,
    floats, and rows with exactly one such entry per name. Numbers above 1 and rows of different lengths are signs of
    indices.

    Args:
        rows: The numbers of each image.
        names: The C labels in order; None if they have no names.
        indices_only: Read them as indices, one for each object of an image.
        declared: The column is declared as indices of labels (`ClassLabel`) with these names.

    Raises:
        UnusableError: There are no names, both readings are possible, or neither is.
    """
    entries = [item for row in rows for item in row]
    lengths = {len(row) for row in rows}
    length = lengths.pop() if len(lengths) == 1 else None
    signs = [
        *(["they are true and false"] if any(isinstance(item, bool) for item in entries) else []),
        *(["they are no integers"] if any(isinstance(item, float) for item in entries) else []),
        *(["a number appears twice in a row"] if any(len(set(row)) < len(row) for row in rows) else []),
    ]
    marks = all(_is_mark(item) for item in entries)
    surely = bool(signs[:1]) and signs[0] != "a number appears twice in a row"
    if names is None:
        raise UnusableError(*_without_names(rows, length, marks, signs))
    count = len(names)
    as_vector = marks and length == count and not indices_only
    as_index = not surely and all(0 <= item < count for item in entries)
    if as_vector and declared and count == 2:  # of two labels, or of absent and present
        raise UnusableError(*_both(rows, names))
    if as_vector:
        return _vectors(rows, names)
    if surely and not indices_only:
        raise UnusableError(*_no_vector(rows, length, marks, signs[0], names))
    if as_index and signs and marks and not indices_only:
        if length is not None:
            raise UnusableError(*_no_vector(rows, length, marks, signs[0], names))
        raise UnusableError(*_both(rows, names))
    if as_index:
        present = [list(dict.fromkeys(names[item] for item in row)) for row in rows]
        return NumberRows(present, [[] for _ in rows])
    wrong = next(item for item in entries if not (isinstance(item, int) and 0 <= item < count))
    text = f"label {shown(wrong)} is none of the {count} names, which are numbered from 0 to {count - 1}"
    raise UnusableError(text, "correct it, name more labels by labels_file, or take a split that has labels")


def _is_mark(item: float) -> bool:
    return item in (0, 1, -1) or item != item  # nan


def _vectors(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> NumberRows:
    def having(row: Sequence[Any], unknown: bool) -> list[str]:
        return [name for name, item in zip(names, row, strict=True) if (item == 1) != unknown and (item != 0)]

    return NumberRows([having(row, False) for row in rows], [having(row, True) for row in rows])


def _without_names(
    rows: Sequence[Sequence[Any]], length: int | None, marks: bool, signs: list[str]
) -> tuple[str, str]:
    if marks and length is not None and signs:
        return (
            f"the labels are 0/1 vectors of {length} numbers without names, such as {shown(_longest(rows))}",
            _REMEDY,
        )
    if not marks and not signs:
        return f"the labels are numbers without names, such as {shown(_longest(rows))}", _REMEDY
    text = (
        f"the labels are numbers without names, such as {shown(_longest(rows))}: a 0/1 vector with a place for each "
        "label, or the numbers of the labels that the image shows"
    )
    return text, f"{_REMEDY}, which tells the two apart"


def _no_vector(
    rows: Sequence[Sequence[Any]], length: int | None, marks: bool, sign: str, names: Sequence[str]
) -> tuple[str, str]:
    if not marks:
        wrong = next(item for row in rows for item in row if not _is_mark(item))
        text = f"the labels are vectors, since {sign}, but {shown(wrong)} is neither 0 nor 1"
        return text, "write 1 (present), 0 (absent) or -1 (unknown)"
    found = f"{length} numbers" if length is not None else "several lengths"
    text = f"the labels are 0/1 vectors, since {sign}, but they have {found} for {len(names)} names"
    return text, f"{_REMEDY}: as many as a vector has places"


def _both(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> tuple[str, str]:
    row = _longest(rows)
    indices = [names[item] for item in dict.fromkeys(row) if 0 <= item < len(names)]
    vector = [names[place] for place, item in enumerate(row) if item == 1 and place < len(names)]
    text = (
        f"{shown(row)} can be the numbers of labels ({', '.join(indices) or 'none'}) or a 0/1 vector "
        f"({', '.join(vector) or 'none'})"
    )
    return text, _REMEDY


def _longest(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return max(([*row] for row in rows), key=len)
