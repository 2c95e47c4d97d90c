"""Text of users beside what terminals, Markdown and spreadsheets make of it."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from sct_hf.errors import InputError
from sct_hf.escaping import csv_cell, from_csv_cell, in_line, in_lines, in_markdown, markdown_block, markdown_code
from tests.hostile import HOSTILE_NAMES

ANYTHING = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(HOSTILE_NAMES)
MARKS = st.text("\\`*_[]()<>!&|~$:@#+-. \n'\"abw", max_size=25)


def every_token(source: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(source):
        yield token
        yield from token.children or ()


def seen(text: str) -> str:
    """What a page shows of text within a line."""
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in " ".join(text.split()))


@given(ANYTHING)
def test_a_terminal_gets_no_command(text: str) -> None:
    line, lines = in_line(text), in_lines(text)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in line)
    assert not any(unicodedata.bidirectional(letter) in ("RLO", "LRO", "RLI", "LRI", "RLE", "LRE") for letter in line)
    assert lines.count("\n") == text.count("\n")
    assert not any(unicodedata.category(letter) == "Cc" for letter in lines.replace("\n", "").replace("\t", ""))
    assert in_lines(lines) == lines
    line.encode()  # no half of a character is left


@given(ANYTHING)
def test_escapes_are_those_of_json(text: str) -> None:
    assert json.loads(in_lines(json.dumps({"label": text}, ensure_ascii=False))) == {"label": text}


def test_what_prints_stays() -> None:
    text = "Füchse, 狗, कुत्ता, كلب, 👩\u200d🚒, 50 % “of all”"
    assert in_line(text) == in_lines(text) == text


@pytest.mark.parametrize("error", ["label '\x1b[2J' is odd", "\x9bA\u202e"])
def test_errors_of_the_package_are_escaped(error: str) -> None:
    assert str(InputError(error)) == in_lines(error) != error


@given(MARKS | st.sampled_from(HOSTILE_NAMES))
@example("a\\|b")
@example("&amp;")
@example("x_y_z")
def test_markdown_shows_the_text_in_one_cell(text: str) -> None:
    source = f"| label | n |\n|---|---|\n| {in_markdown(text)} | 1 |\n"
    tokens = [*every_token(source)]
    kinds = {token.type for token in tokens}
    plain = {"text", "text_special", "inline"}
    assert kinds - plain <= {
        f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")
    }
    cells = [token for token in tokens if token.type == "inline"]
    assert ["".join(child.content for child in cell.children or ()) for cell in cells] == [
        *("label", "n", seen(text), "1")
    ]


@pytest.mark.parametrize(
    "text", ["https://a.example", "WWW.a.example", "mailto:me", "ftp://a.example", "me@a.example"]
)
def test_addresses_are_no_links_where_markdown_makes_some_of_text(text: str) -> None:
    # What GitHub's dialect makes links of, by its section 6.9.
    links = re.compile(r"\w+://|www\.|mailto:\w|[\w.+-]@\w", re.IGNORECASE)
    assert links.search(text)
    assert not links.search(in_markdown(text))


@given(MARKS | st.sampled_from(HOSTILE_NAMES))
def test_code_shows_the_text(text: str) -> None:
    (paragraph,) = [token for token in every_token(f"in {markdown_code(text)}.") if token.type == "inline"]
    before, code, after = paragraph.children or []
    assert (before.content, after.content, code.type) == ("in ", ".", "code_inline")
    assert code.content.strip() == seen(text)


@given(MARKS | st.sampled_from(HOSTILE_NAMES))
def test_blocks_hold_the_text(text: str) -> None:
    (block,) = every_token(f"{markdown_block(text, 'bash')}\n")
    assert (block.type, block.info) == ("fence", "bash")
    assert block.content == in_lines(text) + "\n"


@given(ANYTHING | st.text("'=+-@\t\n a＝", max_size=6))
def test_cells_are_no_formulas_and_come_back(text: str) -> None:
    cell = csv_cell(text)
    assert cell[:1] not in {*"=+-@\t\r\n＝＋－＠"} - {""}
    assert from_csv_cell(cell) == text
    assert cell in (text, f"'{text}")


def test_plain_cells_stay() -> None:
    for text in ("dog", "rock 'n' roll", "'s-Hertogenbosch", "a=b", "", "7", "traffic-light"):
        assert csv_cell(text) == from_csv_cell(text) == text


def test_a_csv_writer_keeps_the_cells() -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow(map(csv_cell, HOSTILE_NAMES))
    (row,) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert [*map(from_csv_cell, row)] == HOSTILE_NAMES
