"""What README.md and the documentation say, as sentences and code blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_LINKS = ("link_open", "image")
_MARK = re.compile(r"<!-- (options checked, )?not run: (.+) -->\s*")
_WORD = re.compile(r"\w")
# A sentence ends where a capital, a Greek letter or a number may begin another, but not after these.
_END = re.compile(r"(?<=[.!?])[\"”)\]]*\s+(?=[\"“(\[]*(?:[A-ZΑ-Ωα-ω0-9]|mAP\b))")
_NO_END = re.compile(r"(?:\b(?:al|e\.g|i\.e|vs|cf|Fig|Sec|No)|^\d+)\.$")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: The file.
        line: Its first line there, from 1.
        language: Such as "python"; empty for none.
        code: What it holds.
        reason: Why no test runs it, from the comment in the line above; None without such a comment.
        checked: Whether a test parses the options of its commands all the same.
        follows: The block that stands right before it, without text between them.
    """

    page: Path
    line: int
    language: str
    code: str
    reason: str | None
    checked: bool
    follows: "Block | None"

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All blocks of code of a page, in order."""
    found: list[Block] = []
    before: Token | None = None
    for token in _tokens(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            first = token.map[0] if token.map else 0
            mark = _MARK.fullmatch(before.content) if _stands_above(before, "html_block", first) else None
            follows = found[-1] if before is not None and before.type == "fence" else None
            reason, checked = (mark[2], mark[1] is not None) if mark else (None, False)
            found.append(Block(page, first + 1, token.info, token.content, reason, checked, follows))
        before = token
    return found


def blocks_of(language: str) -> list[Block]:
    """The blocks in a language on all pages that are not marked."""
    return [block for page in PAGES for block in blocks(page) if block.language == language and not block.reason]


def links(text: str) -> list[str]:
    """Where the links and images of Markdown lead."""
    children = [child for token in _tokens(text) for child in token.children or []]
    return [
        str(child.attrGet("href") or child.attrGet("src"))
        for child in children
        if child.type in ("link_open", "image")
    ]


def anchors(text: str) -> set[str]:
    """The names by which headings of Markdown are linked to, as GitHub and MkDocs make them."""
    tokens = _tokens(text)
    titles = [_plain(after, code=None) for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def sentences(text: str) -> Iterator[str]:
    """The sentences of Markdown's paragraphs and list items, without headings, tables, code blocks and comments.

    A piece of code counts as one word, a link as its text.
    """
    inside: list[str] = []
    for token in _tokens(text):
        if token.nesting == 1:
            inside.append(token.type)
        elif token.nesting == -1:
            inside.pop()
        elif token.type == "inline" and inside[-1] == "paragraph_open":
            yield from split_sentences(_plain(token))


def split_sentences(text: str) -> Iterator[str]:
    """The sentences of a paragraph of plain text."""
    start = 0
    for end in _END.finditer(text):
        sentence = text[start : end.start()]
        if not _NO_END.search(sentence):
            yield sentence
            start = end.end()
    yield text[start:]


def count_words(sentence: str) -> int:
    """How many words a sentence has: runs without a blank that hold a letter or a digit."""
    return sum(bool(_WORD.search(run)) for run in sentence.split())


def words_outside_code(text: str) -> int:
    """How many words Markdown has without its blocks of code: headings, tables and code within a line count."""
    return sum(count_words(_plain(token, code=None)) for token in _tokens(text) if token.type == "inline")


def _tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def _stands_above(token: Token | None, kind: str, line: int) -> bool:
    return token is not None and token.type == kind and token.map is not None and token.map[1] == line


def _plain(token: Token, code: str | None = "Code") -> str:
    """The text of a paragraph; `code` stands for each piece of code in it, or None for what it holds."""
    parts = []
    for child in token.children or []:
        if child.type == "text":
            parts.append(child.content)
        elif child.type == "code_inline":
            parts.append(child.content if code is None else code)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return "".join(parts)
