"""Places of cells in a text, against Python's readers of CSV and JSON."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.curation.table_spans import (
    csv_spans,
    csv_value,
    csv_written,
    json_lines,
    json_spans,
    json_written,
    replaced,
)
from sct_hf.data.names import tidy

CELL = st.text(st.sampled_from('ab ,"\n\r;é犬='), max_size=6)
ROWS = st.lists(st.lists(CELL, min_size=2, max_size=4), max_size=5)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    ROWS,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from("\n \r\n \r".split(" ")),
)
def test_cells_are_those_of_the_csv_module(rows: list[list[str]], quoting: Any, ending: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=ending).writerows(rows)
    written = text.getvalue()
    expected = [row for row in csv.reader(io.StringIO(written, newline=""), strict=True) if row]
    found = list(csv_spans(written))
    assert [[csv_value(written, span) for span in row] for row in found] == expected


@settings(max_examples=60, deadline=None)
@given(ROWS, CELL, st.data())
def test_one_cell_is_replaced_and_no_byte_beside_it(rows: list[list[str]], new: str, data: Any) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    written = text.getvalue()
    places = [span for row in csv_spans(written) for span in row]
    if not places:
        return
    start, end = data.draw(st.sampled_from(places))
    after = replaced(written, {(start, end): csv_written(new, written[start:end])})
    assert after.startswith(written[:start])
    assert after.endswith(written[end:])
    assert [csv_value(after, span) for row in csv_spans(after) for span in row] == [
        new if span == (start, end) else csv_value(written, span) for span in places
    ]


def test_quotes_stay_as_they_were() -> None:
    assert csv_written("dog", "cat") == "dog"
    assert csv_written("dog", '"cat"') == '"dog"'
    assert csv_written('["dog"]', "cat") == '["dog"]'
    assert csv_written('["dog", "cat"]', "cat") == '"[""dog"", ""cat""]"'


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=4), VALUE, min_size=1, max_size=4), max_size=4),
    st.sampled_from([None, (",", ":"), (" ,  ", " : ")]),
    st.booleans(),
)
def test_values_are_those_of_the_json_module(rows: list[dict[str, Any]], separators: Any, escaped: bool) -> None:
    text = "\n\n".join(" " + json.dumps(row, separators=separators, ensure_ascii=escaped) + "\t" for row in rows)
    lines = list(json_lines(text))
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        spans = json_spans(text, line)
        expected = {tidy(name): value for name, value in row.items()}
        assert {name: json.loads(text[slice(*span)]) for name, span in spans.items()} == expected


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ('{"labels": ["a"]}', '["a", "é"]'),
        ('{"labels":["a"]}', '["a","é"]'),
        ('{"labels": ["\\u00e9"]}', '["a", "\\u00e9"]'),
    ],
)
def test_json_is_spaced_and_escaped_like_its_line(line: str, written: str) -> None:
    line = line if "\\u" in line else line + "é"
    assert json_written(["a", "é"], line) == written
