"""Text of users (names of labels, data sets, files) in places where a program could interpret it.

Each function escapes it for one kind of place; readers still see the text.
"""

import re

# Commands of a terminal, marks that turn the direction of what follows, separators of lines, halves of characters.
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_OF_LINES = re.compile(rf"(?![\n\t]){_UNPRINTED.pattern}")
# Underscores that are not within a word; colons and full stops of addresses, which some dialects make links of.
_MARKDOWN = re.compile(
    r"[\\`*\[\]|~$@^]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=mailto):|(?<=xmpp):|(?<=www)\.", re.IGNORECASE
)
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def in_line(text: str) -> str:
    r"""Text in one line of a terminal; unprintable characters are escaped as in JSON, such as \u001b."""
    return _UNPRINTED.sub(_escape, text)


def in_lines(text: str) -> str:
    """Text of several lines in a terminal: as `in_line`, but line breaks and tabs stay."""
    return _OF_LINES.sub(_escape, text)


def in_markdown(text: str) -> str:
    """Text in a line or table of Markdown, without tags, links, images, emphasis, code, formulas or columns.

    A plain address does not become a link. Spaces and line breaks become single spaces.
    """
    return _MARKDOWN.sub(r"\\\g<0>", in_line(" ".join(text.split()))).translate(_HTML)


def markdown_code(text: str) -> str:
    """Text as inline code in Markdown outside tables, with as many backticks as it needs."""
    text = in_line(" ".join(text.split())) or " "
    fence = _fence(text, 1)
    edge = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{edge}{text}{edge}{fence}"


def markdown_block(text: str, language: str = "") -> str:
    """Text as a block of code in Markdown, between fences longer than any in it."""
    text = in_lines(text)
    fence = _fence(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def csv_cell(text: str) -> str:
    """Text of a cell that no spreadsheet reads as a formula: an apostrophe is put before what looks like one.

    Formulas begin with =, +, -, @, their wide forms, a tab or a line break (OWASP, "CSV Injection"). Text with
    apostrophes before such a character gets one more, so that `from_csv_cell` restores every text.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def from_csv_cell(cell: str) -> str:
    """Restore the text from a cell of `csv_cell`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _fence(text: str, least: int) -> str:
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))
