"""Tables with one column a label: 1 present, 0 absent, and -1, ?, nan or nothing where nobody judged."""

from collections.abc import Sequence
from pathlib import Path

from sct_hf.data.lines import Line, image_path
from sct_hf.data.listing import Listing, Record
from sct_hf.data.problems import Problems

PRESENT, ABSENT, UNKNOWN = 1, 0, -1
MARKS = {
    **{"1": PRESENT, "1.0": PRESENT, "true": PRESENT, "0": ABSENT, "0.0": ABSENT, "false": ABSENT},
    **{"-1": UNKNOWN, "-1.0": UNKNOWN, "?": UNKNOWN, "nan": UNKNOWN, "": UNKNOWN},
}
"""What a cell may hold, in lower case, and what it means. pandas writes 1.0, True, and nothing for NaN."""

_REMEDY = "write 1 (present), 0 (absent), or ?, -1 or nothing (unknown)"


def read_marks(
    file: Path,
    lines: Sequence[Line],
    image_column: str | None,
    columns: Sequence[str],
    root: Path,
    label_names: Sequence[str] | None,
    problems: Problems,
) -> Listing:
    """Read the lines of a table with one column a label.

    Args:
        file: The table.
        lines: Its lines, at least one.
        image_column: Column of the path; None, with a problem told already, if the table has none.
        columns: The other columns.
        root: The folder that relative paths start from.
        label_names: The columns that are labels; None for all of `columns`.
        problems: Where to add what is wrong.
    """
    header = f"{file}, line 1"
    if label_names is not None:
        for name in label_names:
            if name not in columns:
                problems.add("no such column", header, f"no column for label {name!r}", "add it, or rename one")
        columns = [name for name in columns if name in set(label_names)]
    marks_of = {name: [_mark(line.cells[name]) for line in lines] for name in columns}
    for name in columns:
        if all(mark is None for mark in marks_of[name]):
            text = f"column {name!r} is taken for a label, but no cell is a mark, such as {lines[0].cells[name]!r}"
            remedy = f"{_REMEDY}; or take the column out, or name the column of labels by label_column"
            problems.add("column without marks", header, text, remedy)
            del marks_of[name]
    listing = Listing(str(file), label_names=list(marks_of))
    for row, line in enumerate(lines):
        found = {name: marks[row] for name, marks in marks_of.items()}
        for name, mark in found.items():
            if mark is None:
                text = f"column {name!r} holds {line.cells[name]!r}"
                problems.add("wrong mark", line.place, text, _REMEDY)
        path = image_path(line, image_column, problems) if image_column is not None else None
        if path is not None and None not in found.values():
            labels, unknown = ([name for name in found if found[name] == mark] for mark in (PRESENT, UNKNOWN))
            listing.records.append(Record(line.place, path, (root / path).absolute(), labels, unknown))
    if listing.records and not any(ABSENT in marks for marks in marks_of.values()):
        listing.notes.append(f"{file}: no cell is 0, so that no label is ever absent; -1 and nothing mean unknown")
    return listing


def _mark(cell: str) -> int | None:
    return MARKS.get(cell.strip().lower())
