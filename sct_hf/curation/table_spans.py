"""Cells of CSV and JSON Lines files by their place in the text, so that one can be replaced and all else stays."""

import json
import re
from collections.abc import Iterator
from typing import Any

from sct_hf.data.names import tidy

Span = tuple[int, int]
"""Start and end of a cell in a text."""

_CELL = re.compile(r'"(?:[^"]|"")*"|[^,\r\n]*')
_BLANK = re.compile(r"[ \t\r\n]*")
_LINE = re.compile(r"\r\n|\r|\n")


def csv_spans(text: str) -> Iterator[list[Span]]:
    """The cells of each row of a valid CSV text, in order; empty lines are left out.

    A cell is as in `csv.reader(strict=True)`: in quotes with each quote within written twice, or all up to a comma or
    the end of the line.
    """
    place = 0
    while place < len(text):
        row: list[Span] = []
        while True:
            found = _CELL.match(text, place)
            assert found is not None  # it matches nothing as well
            row.append(found.span())
            place = found.end()
            if text[place : place + 1] != ",":
                break
            place += 1
        end = _LINE.match(text, place)
        place = end.end() if end else place + 1
        if row != [(row[0][0], row[0][0])]:
            yield row


def csv_value(text: str, span: Span) -> str:
    """The value of a CSV cell."""
    raw = text[slice(*span)]
    return raw[1:-1].replace('""', '"') if raw.startswith('"') else raw


def csv_written(value: str, before: str) -> str:
    """A value as a CSV cell: in quotes if it needs them or the cell before had them."""
    if before.startswith('"') or value.startswith('"') or re.search(r"[,\r\n]", value):
        return '"' + value.replace('"', '""') + '"'
    return value


def json_lines(text: str) -> Iterator[Span]:
    """The lines of a JSON Lines text that hold something, without their ends."""
    place = 0
    while place < len(text):
        end = _LINE.search(text, place)
        stop = end.start() if end else len(text)
        if text[place:stop].strip():
            yield place, stop
        place = end.end() if end else stop


def json_spans(text: str, line: Span) -> dict[str, Span]:
    """The values of a JSON object by their tidy names; of equal names the last.

    Args:
        text: The text.
        line: Where in it a valid object stands.
    """
    decoder, spans = json.JSONDecoder(), dict[str, Span]()
    place = _after_blank(text, _after_blank(text, line[0]) + 1)
    while text[place] == '"':
        name, place = decoder.raw_decode(text, place)
        start = _after_blank(text, _after_blank(text, place) + 1)
        _, end = decoder.raw_decode(text, start)
        spans[tidy(name)] = start, end
        place = _after_blank(text, end)
        if text[place] == ",":
            place = _after_blank(text, place + 1)
    return spans


def json_written(value: Any, line: str) -> str:
    """A value as JSON, spaced and escaped like the line that it goes into."""
    separators = (", ", ": ") if re.search(r'": ', line) else (",", ":")
    return json.dumps(value, ensure_ascii=line.isascii(), separators=separators)


def replaced(text: str, cells: dict[Span, str]) -> str:
    """The text with other cells at some places."""
    parts, place = [], 0
    for (start, end), cell in sorted(cells.items()):
        parts += [text[place:start], cell]
        place = end
    return "".join([*parts, text[place:]])


def _after_blank(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    assert found is not None
    return found.end()
