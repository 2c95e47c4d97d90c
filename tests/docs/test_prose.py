"""How long README.md and the sentences of the documentation are."""

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, README, ROOT, blocks, count_words, sentences, split_sentences, words_outside_code

MOST_WORDS = 1300
LONGEST_SENTENCE = 35


def test_readme_is_short() -> None:
    assert words_outside_code(README.read_text(encoding="utf-8")) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_sentence_is_long(page: Path) -> None:
    found = list(sentences(page.read_text(encoding="utf-8")))
    assert [sentence for sentence in found if count_words(sentence) > LONGEST_SENTENCE] == []


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It has 2.5 points, e.g. Here is no end.", ["It has 2.5 points, e.g. Here is no end."]),
        ("Bansal et al. Showed it. So did we.", ["Bansal et al. Showed it.", "So did we."]),
        ('He said "no." (Then he left.) 3 stayed.', ['He said "no.', "(Then he left.", "3 stayed."]),
        ("config.json holds it; no end: here", ["config.json holds it; no end: here"]),
        ("It is high. mAP is higher. τ is low.", ["It is high.", "mAP is higher.", "τ is low."]),
    ],
)
def test_sentences_of_a_paragraph(paragraph: str, expected: list[str]) -> None:
    assert list(split_sentences(paragraph)) == expected


def test_what_is_no_sentence_is_left_out() -> None:
    text = (
        "# A heading\n\nA [link to\na page](https://example.org/a.b) and `some code here`.\n\n"
        "| a | table |\n|---|---|\n| in | it |\n\n```bash\nrun it\n```\n\n<!-- a comment -->\n\n- An item. Another.\n"
    )
    assert list(sentences(text)) == ["A link to a page and Code.", "An item.", "Another."]
    assert words_outside_code(text) == 2 + 9 + 2 + 2 + 3


def test_words() -> None:
    assert count_words("SCT reaches 96.0 % – or more – of a well-known head's mAP.") == 10


def test_blocks_and_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\n1\n```\n\n```text\n2\n```\n\n<!-- not run: slow -->\n```bash\n3\n```\n\n"
        "<!-- not run: too far -->\n\n```bash\n4\n```\n",
        encoding="utf-8",
    )
    found = blocks(page)
    assert [(block.line, block.language, block.code) for block in found] == [
        (1, "python", "1\n"),
        (5, "text", "2\n"),
        (10, "bash", "3\n"),
        (16, "bash", "4\n"),
    ]
    assert [block.reason for block in found] == [None, None, "slow", None]
    assert [block.follows for block in found] == [None, found[0], None, None]


def test_every_page_is_checked() -> None:
    assert set((ROOT / "docs").rglob("*.md")) <= set(PAGES)
