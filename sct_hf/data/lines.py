"""Lines of CSV and JSON Lines files, and their cells by column."""

import csv
import difflib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sct_hf.data.names import kind_of, shown, tidy
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_lines
from sct_hf.name_lists import some

_QUOTES = "close each quote, and write a quote within a cell twice"
_LONG = "a quote may be open, so that further lines belong to the cell; or shorten the cell"
_COMPARED = 50  # columns that an error names


@dataclass(frozen=True)
class Line:
    """A line of a table: its place, and its cells by column."""

    place: str
    cells: dict[str, Any]


def _csv_lines(file: Path, problems: Problems) -> list[Line]:
    rows = list(_csv_rows(read_lines(file, problems)))
    if not rows:
        return []
    if isinstance(rows[0][1], csv.Error):
        problems.add("not CSV", f"{file}, line 1", f"the header cannot be parsed ({rows[0][1]})", _QUOTES)
        return []
    header: list[str] = [tidy(name) for name in rows[0][1]]
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        text = f"the header names {', '.join(map(repr, twice))} twice"
        problems.add("column given twice", f"{file}, line 1", text, "rename or take out one of them")
        return []
    if len(header) == 1 and (other := next((mark for mark in ";\t" if mark in header[0]), None)):
        text = f"the header is one cell, {header[0]!r}"
        problems.add(
            "not separated by commas", f"{file}, line 1", text, f"separate the cells by commas, not by {other!r}"
        )
        return []
    lines = []
    for number, cells in rows[1:]:
        place = f"{file}, line {number}"
        if isinstance(cells, csv.Error):
            remedy = _LONG if "field limit" in str(cells) else _QUOTES
            problems.add("not CSV", place, f"the line cannot be parsed ({cells})", remedy)
        elif len(cells) != len(header):
            text = f"{len(cells)} cells, but the header has {len(header)}"
            problems.add("number of cells", place, text, "quote cells with commas in them")
        else:
            lines.append(Line(place, dict(zip(header, cells, strict=True))))
    return lines


def _csv_rows(lines: list[str]) -> Iterator[tuple[int, Any]]:
    """The first line's number and the cells of each row, or an error; reading continues on the next line."""
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[place] for place in range(start, len(lines))), strict=True)
        read = 0
        try:
            for cells in reader:
                if cells:
                    yield start + read + 1, cells
                read = reader.line_num
            return
        except csv.Error as error:
            yield start + read + 1, error
            start += read + 1


def _json_lines(file: Path, problems: Problems) -> list[Line]:
    lines = []
    for number, text in enumerate(read_lines(file, problems), start=1):
        if not text.strip():
            continue
        place = f"{file}, line {number}"
        remedy = 'write an object such as {"image": …, "labels": […]} on each line'
        try:
            cells = json.loads(text)
        except (ValueError, RecursionError) as error:
            problems.add("not JSON", place, f"the line is not valid JSON ({error})", remedy)
            continue
        if isinstance(cells, dict):
            lines.append(Line(place, {tidy(name): cell for name, cell in cells.items()}))
        else:
            problems.add("not an object", place, f"the line is {shown(cells)}", remedy)
    return lines


LINES: dict[str, Callable[[Path, Problems], list[Line]]] = {"csv": _csv_lines, "jsonl": _json_lines}
"""Functions that read the lines of a file, by format; they add errors to the problems."""


def find_column(field: str, given: str | None, usual: Sequence[str], line: Line, problems: Problems) -> str | None:
    """The requested column, or the first usual one in the line; None and a problem if there is none."""
    wanted = usual if given is None else [given]
    for column in wanted:
        if column in line.cells:
            return column
    near = _nearest(tuple(line.cells)[:_COMPARED], tuple(wanted))
    text = f"no column {' or '.join(map(repr, wanted))}, only {some(list(map(shown, line.cells)), _COMPARED)}"
    remedy = f"rename {near!r}, or name the column by {field}" if near else f"name the column by {field}"
    problems.add("no such column", line.place, text, remedy)
    return None


@lru_cache(maxsize=1000)
def _nearest(columns: tuple[str, ...], wanted: tuple[str, ...]) -> str | None:
    """The first column with a name similar to a wanted one."""
    return next(
        (name for name in columns if difflib.get_close_matches(name[:100].strip().casefold(), wanted, n=1)), None
    )


def image_path(line: Line, column: str, problems: Problems) -> str | None:
    """The path in a line's cell; None and a problem if there is none."""
    path = line.cells[column]
    if isinstance(path, str) and path.strip():
        return path
    found = shown(path) if isinstance(path, str) else f"{kind_of(path)}, {shown(path)}"
    problems.add("no path", line.place, f"the path of the image is {found}", "give a path, or remove the line")
    return None
