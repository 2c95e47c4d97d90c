"""Tags of images as text, row by row: a table, JSON, JSON lines or CSV."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from sct_hf.escaping import csv_cell, in_line, in_lines
from sct_hf.inference.rows import BOX, Columns, row_of
from sct_hf.inference.tagger import Tags

Style = Literal["table", "json", "jsonl", "csv"]


class TextFormat(Protocol):
    """Rows as text, in parts: `start()`, `add(…)` of some rows as often as needed, `end()`."""

    def start(self) -> str:
        """What comes before all rows."""
        ...

    def add(self, rows: Sequence[dict[str, Any]]) -> str:
        """The text of the next rows."""
        ...

    def end(self) -> str:
        """What comes after all rows."""
        ...


class Table:
    """One line an image, with names as wide as the widest so far.

    Args:
        columns: The rows' columns.
        width: Width of the names at least.
    """

    def __init__(self, columns: Columns, width: int = 0) -> None:
        self.width = width

    def start(self) -> str:
        """No text."""
        return ""

    def add(self, rows: Sequence[dict[str, Any]]) -> str:
        """The rows' lines; "?" follows an unsure tag."""
        names = [in_line(row["path"]) for row in rows]
        self.width = max([self.width, *map(len, names)])
        return "".join(f"{name:<{self.width}}  {_tags(row)}\n" for name, row in zip(names, rows, strict=True))

    def end(self) -> str:
        """No text."""
        return ""


class JsonLines:
    """One object a line: `path`, `tags` with `label` and `score` each, and `error` if anything failed."""

    def __init__(self, columns: Columns) -> None: ...

    def start(self) -> str:
        """No text."""
        return ""

    def add(self, rows: Sequence[dict[str, Any]]) -> str:
        """The rows' lines."""
        return "".join(in_lines(json.dumps(entry_of(row), ensure_ascii=False)) + "\n" for row in rows)

    def end(self) -> str:
        """No text."""
        return ""


class Json:
    """One list of the objects of `JsonLines`, laid out over lines."""

    def __init__(self, columns: Columns) -> None:
        self._joint = "["

    def start(self) -> str:
        """No text."""
        return ""

    def add(self, rows: Sequence[dict[str, Any]]) -> str:
        """The next objects of the list."""
        text = ""
        for row in rows:
            entry = json.dumps(entry_of(row), indent=2, ensure_ascii=False).replace("\n", "\n  ")
            text += f"{self._joint}\n  {in_lines(entry)}"
            self._joint = ","
        return text

    def end(self) -> str:
        """The list's end."""
        return "[]\n" if self._joint == "[" else "\n]\n"


class Csv:
    """`path`, `label`, `score`, marks, box and `error`: one row a tag, and one for an image without tags."""

    def __init__(self, columns: Columns) -> None:
        self._text = io.StringIO()
        names = ["path", "label", "score", *columns.marks, *(BOX if columns.boxes else ()), "error"]
        self._writer = csv.DictWriter(self._text, names, restval="", lineterminator="\n")

    def start(self) -> str:
        """The line of names."""
        self._writer.writeheader()
        return self._taken()

    def add(self, rows: Sequence[dict[str, Any]]) -> str:
        """The rows' lines."""
        for row in rows:
            entry = entry_of(row)
            image = {"path": entry["path"], "error": entry.get("error", "")}
            for tag in entry["tags"] or [{}]:
                cells = image | {key: value for key, value in tag.items() if key != "box"} | tag.get("box", {})
                escaped = {key: csv_cell(value) if isinstance(value, str) else value for key, value in cells.items()}
                self._writer.writerow(escaped)
        return in_lines(self._taken())

    def end(self) -> str:
        """No text."""
        return ""

    def _taken(self) -> str:
        text = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return text


TEXTS: dict[str, type[Any]] = {"table": Table, "json": Json, "jsonl": JsonLines, "csv": Csv}
"""The styles of text."""


def format_tags(results: Iterable[Tags], style: Style) -> str:
    r"""Write results as text that ends with a line break.

    Args:
        results: The images' tags.
        style: "table": one line per image. "json": a list of {"path", "tags": [{"label", "score"}]}, with "error" if
            a file could not be read; "jsonl" writes each on a line. "csv": path, label, score, error, with one row per
            tag and one for an image without tags. JSON and CSV also have `seen`, `unsure` and the box if the results
            do; a table writes "?" after an unsure tag.

    Unprintable characters are escaped as in JSON, such as \u001b; text in CSV goes through `csv_cell`.
    """
    found = list(results)
    marked = {name: any(getattr(one, name) is not None for one in found) for name in ("seen", "unsure", "boxes")}
    text: TextFormat = TEXTS[style](Columns(**marked))
    return text.start() + text.add([row_of(result) for result in found]) + text.end()


def entry_of(row: dict[str, Any]) -> dict[str, Any]:
    """The object of a row in JSON: its tags one by one."""
    parts = {"label": "labels", "score": "scores", "seen": "seen", "unsure": "unsure", "box": "boxes"}
    held = {key: row[column] for key, column in parts.items() if column in row}
    tags = [dict(zip(held, values, strict=True)) for values in zip(*held.values(), strict=True)]
    return {"path": row["path"], "tags": tags} | ({"error": row["error"]} if row["error"] else {})


def _tags(row: dict[str, Any]) -> str:
    unsure = row.get("unsure") or [False] * len(row["labels"])
    marked = zip(row["labels"], row["scores"], unsure, strict=True)
    said = [f"{label} {score:.2f}{'?' * doubt}" for label, score, doubt in marked]
    said += [f"error: {row['error']}"] if row["error"] else []
    return in_line(", ".join(said) or "(no tag)")
