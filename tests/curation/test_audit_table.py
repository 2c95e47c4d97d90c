"""The table of suspects: every name comes back, none is a formula, and decisions are read as written."""

import csv
import io
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.curation.audit_table import COLUMNS, Row, read_decisions, write_audit
from sct_hf.data.problems import DataError
from tests.hostile import HOSTILE_NAMES

TEXT = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(HOSTILE_NAMES))
ROWS = st.lists(st.tuples(TEXT, TEXT, st.booleans()), max_size=8, unique_by=lambda row: row[:2])


def cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def decided(path: Path, words: list[str], *, separator: str = ",", bom: str = "") -> None:
    """Fill in decisions and save the table as a spreadsheet does."""
    header, *rows = cells(path)
    for row, word in zip(rows, words, strict=True):
        row[header.index("decision")] = word
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([header, *rows])
    path.write_bytes((bom + text.getvalue()).encode())


@settings(max_examples=40, deadline=None)
@given(ROWS, st.sampled_from([(",", ""), (";", "\ufeff"), ("\t", "")]))
def test_names_come_back_and_none_is_a_formula(names: list[tuple[str, str, bool]], form: tuple[str, str]) -> None:
    separator, bom = form
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.csv"
        write_audit([Row(image, label, given, 0.5, "wrong", 3) for image, label, given in names], path)
        header, *rows = cells(path)
        assert tuple(header) == COLUMNS
        for row in rows:
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in row)
        decided(path, ["yes"] * len(names), separator=separator, bom=bom)
        found = read_decisions(path)
    assert [(each.image, each.label, each.present) for each in found.changes] == [
        (image, label, not given) for image, label, given in names
    ]


def test_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    write_audit([Row("a.jpg", "dog", False, 0.98765, "missing", 2), Row("b.jpg", "cat", True, 0.5, "wrong")], path)
    assert path.read_text(encoding="utf-8").splitlines() == [
        "rank,image,label,given,suggested,score,kind,cleanlab,decision",
        "1,a.jpg,dog,absent,present,0.9877,missing,2,",
        "2,b.jpg,cat,present,absent,0.5000,wrong,,",
    ]


def table(folder: Path, *decisions: str) -> Path:
    path = folder / "audit.csv"
    write_audit([Row(f"{number}.jpg", "dog", False, 0.5, "missing") for number in range(len(decisions))], path)
    decided(path, list(decisions))
    return path


def test_words_of_decisions(tmp_path: Path) -> None:
    found = read_decisions(table(tmp_path, "yes", " Apply ", "no", "KEEP", "unsure", "", "  "))
    assert [(each.image, each.line) for each in found.changes] == [("0.jpg", 2), ("1.jpg", 3)]
    assert (found.kept, found.unsure, found.open, found.made) == (2, 1, 2, 5)


def test_unknown_words_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_decisions(table(tmp_path, "yes", "maybe", "oui"))
    assert [str(problem) for problem in caught.value.problems] == [
        f"{tmp_path}/audit.csv, line {line}: decision is {word!r}: write yes or apply, no or keep, unsure or nothing"
        for line, word in ((3, "maybe"), (4, "oui"))
    ]


def test_opposite_decisions_are_refused_and_equal_ones_count_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    path.write_text("image,label,suggested,decision\na,dog,present,yes\na,dog,present,yes\n")
    assert len(read_decisions(path).changes) == 1
    path.write_text("image,label,suggested,decision\na,dog,present,yes\na,dog,absent,yes\n")
    with pytest.raises(DataError, match=r"line 3: line 2 says the opposite of label 'dog' of image 'a': clear"):
        read_decisions(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "there is no header in it"),
        (b"image,label\n", "line 1: no column 'suggested', 'decision': give audit.csv as"),
        (b"image,label,suggested,decision\na,dog,present\n", "line 2: 3 cells, but the header has 4"),
        (b'image,label,suggested,decision\na,"dog,present,yes\n', "line 2: the line cannot be parsed"),
        (b"image,label,suggested,decision\na,dog,there,yes\n", "suggested is 'there': write present or absent"),
        (b"image,label,suggested,decision\na,stra\xdfe,present,yes\n", "is not UTF-8"),
    ],
)
def test_bad_tables(tmp_path: Path, text: bytes, error: str) -> None:
    path = tmp_path / "audit.csv"
    path.write_bytes(text)
    with pytest.raises(DataError, match=error):
        read_decisions(path)


def test_a_name_of_other_bytes_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    write_audit([Row(os.fsdecode(b"a\xe9.jpg"), "dog", False, 0.5, "missing")], path)
    assert b",a\xe9.jpg,dog," in path.read_bytes()
    path.write_bytes(path.read_bytes().rstrip() + b"yes\r\n")
    assert [os.fsencode(each.image) for each in read_decisions(path).changes] == [b"a\xe9.jpg"]


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_decisions(tmp_path / "audit.csv")
