"""Tags as a table, JSON and CSV."""

import csv
import io
import json
import unicodedata
from pathlib import Path

from sct_hf.escaping import from_csv_cell
from sct_hf.inference.formats import format_tags
from sct_hf.inference.tagger import Tags
from tests.hostile import HOSTILE_NAMES


def test_formats() -> None:
    results = [
        Tags(Path("a.png"), [("dog", 0.987), ("cup, red", 0.5)]),
        Tags(Path("longer/b.png")),
        Tags(Path("c.png"), error="no such file"),
    ]
    assert json.loads(format_tags(results, "json")) == [
        {"path": "a.png", "tags": [{"label": "dog", "score": 0.987}, {"label": "cup, red", "score": 0.5}]},
        {"path": "longer/b.png", "tags": []},
        {"path": "c.png", "tags": [], "error": "no such file"},
    ]
    assert list(csv.reader(io.StringIO(format_tags(results, "csv")))) == [
        ["path", "label", "score", "error"],
        ["a.png", "dog", "0.987", ""],
        ["a.png", "cup, red", "0.5", ""],
        ["longer/b.png", "", "", ""],
        ["c.png", "", "", "no such file"],
    ]
    assert format_tags(results, "table").splitlines() == [
        "a.png         dog 0.99, cup, red 0.50",
        "longer/b.png  (no tag)",
        "c.png         error: no such file",
    ]


def test_formats_tell_boxes_and_what_was_seen() -> None:
    box = {"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}
    results = [
        Tags(Path("a.png"), [("dog", 0.5)], boxes={"dog": box}, seen={"dog": False}),
        Tags(Path("b.png"), boxes={}, seen={}),
        Tags(Path("c.png"), error="no such file", boxes={}, seen={}),
    ]
    assert json.loads(format_tags(results, "json")) == [
        {"path": "a.png", "tags": [{"label": "dog", "score": 0.5, "seen": False, "box": box}]},
        {"path": "b.png", "tags": []},
        {"path": "c.png", "tags": [], "error": "no such file"},
    ]
    header = ["path", "label", "score", "seen", "xmin", "ymin", "xmax", "ymax", "error"]
    assert list(csv.reader(io.StringIO(format_tags(results, "csv")))) == [
        header,
        ["a.png", "dog", "0.5", "False", "1", "2", "30", "40", ""],
        ["b.png", *[""] * 8],
        ["c.png", *[""] * 7, "no such file"],
    ]
    assert next(csv.reader(io.StringIO(format_tags(results[2:], "csv")))) == header  # whatever was found


def test_names_are_text_in_every_format() -> None:
    names = [*HOSTILE_NAMES, "half \udc80"]
    results = [Tags(Path(f"{name}.png"), [(name, 0.5)]) for name in names]
    results += [Tags(Path("c.png"), error=name) for name in names]
    for style in ("table", "json", "csv"):
        text = format_tags(results, style)
        text.encode()
        assert not [letter for letter in text if unicodedata.category(letter) == "Cc" and letter not in "\n\t"]
    assert [entry["tags"][0]["label"] for entry in json.loads(format_tags(results, "json"))[: len(names)]] == names
    assert len(format_tags(results, "table").splitlines()) == len(results)
    rows = list(csv.DictReader(io.StringIO(format_tags(results, "csv"), newline="")))
    assert not [cell for row in rows for cell in row.values() if cell.startswith(tuple("=+-@\t\r"))]
    printed = [row["label"] for row in rows[: len(names)]]
    kept = [(name, cell) for name, cell in zip(names, printed, strict=True) if name.isprintable()]
    assert len(kept) > 15
    assert all(from_csv_cell(cell) == name for name, cell in kept)
