"""Hierarchies of labels as CSV files of child,parent rows."""

import csv
import difflib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path

from sct_hf.data.names import shown, tidy
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_lines
from sct_hf.errors import InputError
from sct_hf.escaping import csv_cell, from_csv_cell
from sct_hf.files import atomic_write
from sct_hf.model.hierarchy_sct import top_down
from sct_hf.model.vocabulary_sct import label_words

HEADER = ("child", "parent")


def read_hierarchy(path: str | Path, label_names: Sequence[str]) -> dict[str, list[str]]:
    """Read a hierarchy from rows `child,parent`, one for each parent of a label. A header of these words is optional.

    A parent is a label of the data set or a new one; a child is a label of the data set or a parent in another row.
    Cells are those of `csv_cell`.

    Args:
        path: The CSV file.
        label_names: The labels of the data set.

    Returns:
        {child: its parents}, in the order of the file; repeated rows count once.

    Raises:
        InputError: The file cannot be read or has no rows, or a row is wrong; the message has its line. A row is wrong
            if it has not two names, its child is unknown, its parent is another spelling of a label, a label is its
            own parent, or it closes a cycle.
    """
    path = Path(path)
    rows = _rows(path)
    own = set(label_names)
    known = {*own, *(parent for _, (_, parent) in rows)}
    spelt = {_words(name) or name: name for name in label_names}
    for line, (child, parent) in rows:
        if child not in known:
            near = difflib.get_close_matches(child, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"the labels are {', '.join(list(label_names)[:20])}"
            raise InputError(
                f"{path}, line {line}: {shown(child)} is neither a label of the data set nor a parent in another "
                f"row; {remedy}"
            )
        if (words := _words(parent)) is None:
            raise InputError(f"{path}, line {line}: {shown(parent)} holds no word: name the parent in letters")
        other = spelt.get(words, parent)
        if parent not in own and other != parent:
            raise InputError(
                f"{path}, line {line}: {parent!r} would be a new label beside {other!r}, of the same words: write it "
                "as the data set does"
            )
        if child == parent:
            raise InputError(f"{path}, line {line}: {child!r} cannot be its own parent: remove the row")
    if _circle(rows):
        closing = bisect_left(range(len(rows)), True, key=lambda last: bool(_circle(rows[: last + 1])))
        circle = _circle(rows[: closing + 1])
        raise InputError(f"{path}, line {rows[closing][0]}: closes a cycle, {circle}: remove one of its rows")
    return _parents(rows)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a file, two names each, with their last lines."""
    problems = Problems()
    lines = read_lines(path, problems)
    problems.raise_if_any()
    reader = csv.reader(lines)
    try:
        rows = [(reader.line_num, [tidy(cell) for cell in row]) for row in reader if "".join(row).strip()]
    except csv.Error as error:
        raise InputError(f"hierarchy is {str(path)!r}, which cannot be read as CSV text: {error}") from error
    if rows and tuple(cell.lower() for cell in rows[0][1]) == HEADER:
        rows = rows[1:]
    rows = [(line, [*map(from_csv_cell, row)]) for line, row in rows]
    if not rows:
        raise InputError(f"hierarchy is {str(path)!r}, which has no rows: write one child,parent a line")
    for line, row in rows:
        if len(row) != 2 or not all(row):
            raise InputError(f"{path}, line {line}: {shown(','.join(row))} is not child,parent: write two names")
    return rows


def _words(name: str) -> str | None:
    try:
        return label_words(name)
    except ValueError:
        return None


def _parents(rows: Sequence[tuple[int, list[str]]]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for _, (child, parent) in rows:
        found.setdefault(child, {})[parent] = None
    return {child: list(parents) for child, parents in found.items()}


def _circle(rows: Sequence[tuple[int, list[str]]]) -> str | None:
    """A cycle in the rows, if there is one."""
    try:
        top_down(_parents(rows))
    except ValueError as error:
        return str(error).partition("cycle, ")[2].partition(":")[0]
    return None


def write_hierarchy(path: str | Path, label_parents: Mapping[str, Sequence[str]]) -> None:
    """Write a hierarchy as a file for `read_hierarchy`."""
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        pairs = ((child, parent) for child, parents in label_parents.items() for parent in parents)
        writer.writerows(map(csv_cell, pair) for pair in pairs)
