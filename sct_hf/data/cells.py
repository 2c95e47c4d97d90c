"""Cells that hold the labels of an image: a list, a list as text in JSON or Python, or names with a separator."""

import ast
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sct_hf.data.names import MOST_LABELS, UnusableError, clean_name, kind_of, means_nothing, shown

SEPARATORS: dict[str, str | None] = {"comma": ",", "pipe": "|", "semicolon": ";", "space": " ", "none": None}
"""Separators between labels in a cell, by their names in `--separator`; with none a cell is one label."""

AUTO = "auto"
"""Each of |, ; and , separates labels."""

_USUAL = re.compile(r"[|;,]")
_ODD_MARKS = re.compile(r"[\s/+&:，、；·]+")  # what may part labels too, but is not taken to
_ESCAPED = re.compile(r"\\(['\"\\])")
_QUOTED = r"""(?:'(?:[^'\\]|\\['"\\])*'|"(?:[^"\\]|\\['"\\])*")"""
_ITEMS = re.compile(rf"\s*(?:{_QUOTED}(?:\s*,\s*|\s+|$))*", re.DOTALL)
_PLAIN = re.compile(r"[\[({][\w\s.,+-]*[\])}]")  # numbers and words such as True
_CHOICES = re.compile(r"\{\s*'choices'\s*:\s*(\[.*\])\s*\}", re.DOTALL)
_EMPTY = ("[]", "()", "{}", "set()")
_LONGEST = 100_000


def names_in(cell: Any, separator: str = AUTO) -> list[str]:
    """The label names in a cell, each once; see `items_in`.

    Raises:
        UnusableError: The cell cannot be read, or an entry is not a name.
    """
    return list(dict.fromkeys(clean_name(item) for item in items_in(cell, separator)))


def items_in(cell: Any, separator: str = AUTO) -> list[Any]:
    """The raw entries of a cell.

    Args:
        cell: None or empty; a list, tuple or set; the object `{"choices": …}` of Label Studio; or text: one of these
            as JSON or Python, a printed NumPy array of text, or names with a separator.
        separator: `AUTO`, a name of `SEPARATORS`, or the separator itself.

    Raises:
        UnusableError: The cell has another type, is a word for "no value" such as nan, or has more than `MOST_LABELS`
            entries.
    """
    items = _items(cell, separator)
    if len(items) > MOST_LABELS:
        raise UnusableError(f"lists {len(items)} labels", f"give at most {MOST_LABELS}")
    return items


def separator_hint(cells: Sequence[Any], separator: str = AUTO) -> str | None:
    """Notes on a column's separators: spaces between probable labels, or several separators at once.

    Spaces, and marks such as / and +, are suspected if no cell has a separator, and all words of a cell with several
    words also occur alone or in another cell.
    """
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()[:1] not in ("", "[", "{", "(")]
    if separator != AUTO or not texts:
        return None
    used = sorted({mark for text in texts for mark in _USUAL.findall(text)})
    if len(used) > 1:
        marks = " and ".join(map(repr, used))
        return f"labels are separated by {marks}: if names contain one of them, set separator to the other"
    distinct = {text: [word for word in _ODD_MARKS.split(text) if word] for text in set(texts)}
    places = Counter(word for words in distinct.values() for word in set(words))
    several = [text for text, words in distinct.items() if len(words) > 1]
    suspected = [text for text in several if all(places[word] > 1 for word in distinct[text])]
    if used or not suspected or len(suspected) < len(several) / 2:
        return None
    one = min(suspected)
    mark = next((mark for mark in one if _ODD_MARKS.fullmatch(mark) and not mark.isspace()), None)
    between, remedy = ("blanks", "pass separator space") if mark is None else (repr(mark), "write | between them")
    return (
        f"labels such as {shown(one)} seem to be several with {between} between them, but are taken for one: "
        f"{remedy} if they are several, {'' if mark is None else 'pass separator '}none if they are one"
    )


def _items(cell: Any, separator: str) -> list[Any]:
    if cell is None:
        return []
    if isinstance(cell, str):
        return _of_text(cell.strip(), separator)
    if isinstance(cell, dict):
        if set(cell) != {"choices"}:
            raise UnusableError(
                f"is an object with {', '.join(map(shown, cell)) or 'nothing'}", "give a list of names"
            )
        return _listed(cell["choices"])
    if isinstance(cell, list | tuple | set):
        return list(cell)
    raise UnusableError(f"is {shown(cell)}, {kind_of(cell)}", "give a list of names, or names with a separator")


def _of_text(text: str, separator: str) -> list[Any]:
    if not text or text in _EMPTY:
        return []
    if text[0] in "[{" or (text[0] == "(" and _is_list(text)):
        return _listed(_parsed(text))
    sign = SEPARATORS.get(separator, separator)
    if separator == AUTO:
        parts = _USUAL.split(text)
    else:
        parts = [text] if sign is None else text.split() if sign == " " else text.split(sign)
    parts = [part.strip() for part in parts if part.strip()]
    for part in parts:
        if means_nothing(part):
            remedy = f"leave the cell empty if there is no label; write a label of that name as [{json.dumps(part)}]"
            raise UnusableError(f"holds {shown(part)}, which stands for no value", remedy)
    return list(parts)


def _is_list(text: str) -> bool:
    return text[-1] == ")" and (text[1:-1].lstrip()[:1] in ("'", '"') or bool(re.fullmatch(r"\([-\d.,\s]*\)", text)))


def _listed(value: Any) -> list[Any]:
    """The entries of a list, of the choices in an object, or a single name."""
    if isinstance(value, dict) and set(value) == {"choices"}:
        value = value["choices"]
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple | set):
        return (
            sorted(value) if isinstance(value, set) and all(isinstance(item, str) for item in value) else list(value)
        )
    raise UnusableError(f"holds {kind_of(value)}, no list", 'write ["dog", "sofa"], or dog|sofa')


def _parsed(text: str) -> Any:
    """The value of JSON or Python text; `clean_name` refuses entries other than text and numbers."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    if choices := _CHOICES.fullmatch(text):
        text = choices[1]
    inside = text[1:-1]
    if text[-1] in ")]}" and inside.strip() and _ITEMS.fullmatch(inside):  # without commas too, as NumPy prints
        return [_ESCAPED.sub(r"\1", item[1:-1]) for item in re.findall(_QUOTED, inside, re.DOTALL)]
    if len(text) <= _LONGEST and _PLAIN.fullmatch(text):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            pass
    kind = "list" if text[0] != "{" else "object"
    raise UnusableError(f"is {shown(text)}, which is no JSON {kind} ({reason})", 'write ["dog", "sofa"], or dog|sofa')
