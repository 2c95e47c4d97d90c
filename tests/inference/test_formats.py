"""Tags as a table, JSON and CSV."""

import csv
import io
import json
from pathlib import Path

from sct_hf.inference.formats import format_tags
from sct_hf.inference.tagger import Tags


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
