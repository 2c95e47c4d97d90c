"""Tables with one column per label: 1 present, 0 absent, and -1, ?, nan or an empty cell for unknown."""

import re
from collections.abc import Sequence
from pathlib import Path

from sct_hf.data.lines import Line, image_path
from sct_hf.data.listing import Listing, Record, are_too_many, usable_names
from sct_hf.data.names import shown
from sct_hf.data.places import find_image
from sct_hf.data.problems import Problems

PRESENT, ABSENT, UNKNOWN = 1, 0, -1
MARKS = {
    **{"1": PRESENT, "1.0": PRESENT, "true": PRESENT, "0": ABSENT, "0.0": ABSENT, "false": ABSENT},
    **{"-1": UNKNOWN, "-1.0": UNKNOWN, "?": UNKNOWN, "nan": UNKNOWN, "": UNKNOWN},
}
"""What a cell may hold, in lower case, and what it means. pandas writes 1.0, True, and nothing for NaN."""

_REMEDY = "write 1 (present), 0 (absent), or ?, -1 or nothing (unknown)"


PARTS = frozenset(("fold", "is_test", "is_train", "is_valid", "is_validation", "kfold", "split", "subset"))
"""Columns that assign images to splits."""

_FACTS = PARTS | {"group", "id", "idx", "index"}
_NUMBERED = re.compile(r"unnamed: \d+|.+_id")  # the index that pandas writes and reads, and numbers of things


def is_marks(lines: Sequence[Line], column: str) -> bool:
    """Whether all cells of a column are marks, and some are present or absent."""
    marks = {_mark(line.cells[column]) for line in lines}
    return None not in marks and bool(marks & {PRESENT, ABSENT})


def read_marks(
    file: Path,
    lines: Sequence[Line],
    image_column: str | None,
    columns: Sequence[str],
    root: Path,
    label_names: Sequence[str] | None,
    problems: Problems,
) -> Listing:
    """Read the lines of a table with one column per label.

    Columns with an image's split or number, such as is_valid, fold, split and id, are not labels unless they are among
    `label_names`.

    Args:
        file: The table.
        lines: Its lines, at least one.
        image_column: Column of the path; None if the table has none, which was reported already.
        columns: The other columns.
        root: Folder of relative paths.
        label_names: The columns that are labels; None for all of `columns`.
        problems: Collects the errors.
    """
    header, listing = f"{file}, line 1", Listing(str(file))
    if label_names is not None:
        for name in label_names:
            if name not in columns:
                problems.add("no such column", header, f"no column for label {name!r}", "add it, or rename one")
        columns = [name for name in columns if name in set(label_names)]
    elif facts := [name for name in columns if name.casefold() in _FACTS or _NUMBERED.fullmatch(name.casefold())]:
        columns = [name for name in columns if name not in facts]
        verb = "columns {} are" if len(facts) > 1 else "column {} is"
        listing.notes.append(
            f"{file}: {verb.format(', '.join(map(repr, facts)))} not taken for labels; if a label is meant, name all "
            "labels by labels_file"
        )
    if are_too_many(columns, header, problems):
        columns = []
    marks_of: dict[str, list[int | None]] = {}
    for name in columns:
        marks = [_mark(line.cells[name]) for line in lines]
        if all(mark is None for mark in marks):
            text = (
                f"column {name!r} is taken for a label, but no cell is a mark, such as {shown(lines[0].cells[name])}"
            )
            remedy = f"{_REMEDY}; or remove the column, or set label_column to the column of labels"
            problems.add("column without marks", header, text, remedy)
        else:
            marks_of |= {label: marks for label in usable_names([name], header, problems)}
    listing.declare(marks_of)
    if not marks_of:
        return listing
    for row, line in enumerate(lines):
        found = {name: marks[row] for name, marks in marks_of.items()}
        for name, mark in found.items():
            if mark is None:
                text = f"column {name!r} holds {shown(line.cells[name])}"
                problems.add("wrong mark", line.place, text, _REMEDY)
        path = image_path(line, image_column, problems) if image_column is not None else None
        if path is not None and None not in found.values():
            labels, unknown = ([name for name in found if found[name] == mark] for mark in (PRESENT, UNKNOWN))
            listing.records.append(Record(line.place, path, find_image(path, [root]), labels, unknown))
    if listing.records and not any(ABSENT in marks for marks in marks_of.values()):
        if {line.cells[name].strip() for line in lines for name in marks_of} <= {"1", "-1", "1.0", "-1.0"}:
            text = "all cells are 1 and -1, and -1 means unknown, so no label is ever absent"
            problems.add("no label absent", header, text, "write 0 where a label is absent, or ? where it is unknown")
        listing.notes.append(f"{file}: no cell is 0, so that no label is ever absent; -1 and nothing mean unknown")
    return listing


def _mark(cell: str) -> int | None:
    return MARKS.get(cell.strip().lower())
