"""Rules for label names and equal names, the same for every format."""

import re
import unicodedata
from functools import lru_cache

MOST_LABELS = 30_000
"""Most labels of a data set."""

LONGEST_NAME = 50_000
"""Most characters of a label's name."""

_INVISIBLE = {0xAD, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_JOINERS = "\u200c\u200d"
_JOINED = ("Lo", "Mn", "Mc", "So", "Sk")  # what joiners stand behind in Persian, in Indic scripts and in emoji
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_QUOTES = "\"'`“”„‘’«»"
_PRINTED = re.compile(r"[\[({]\s*[\[({'\"]")  # a list within what a program printed, such as frozenset({'dog'})
_SPACES = re.compile(r"[\s_-]+")
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d]) (?=[^\W\d])")
_LOOKALIKES = str.maketrans("аеорсухіјѕһԁԛԝкмтвнοανρικτу", "aeopcyxijshdqwkmtbhoavpikty")  # Cyrillic and Greek
_NOTHING = {"", "nan", "none", "null", "nil", "n/a", "#n/a", "na", "<na>", "nat", "-", "--", "?"}


class UnusableError(ValueError):
    """A value that is not a label.

    Attributes:
        text: The error.
        remedy: The remedy.
    """

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(f"{text}: {remedy}")
        self.text, self.remedy = text, remedy


def clean_name(value: object) -> str:
    """Clean a label's name: stripped, in Unicode's composed form (NFC), without invisible characters.

    Soft hyphens, zero-width characters and direction marks are removed; joiners stay if scripts or emoji need them.
    Every kind of space becomes a plain one.

    Raises:
        UnusableError: The value is not text, has no visible character or more than `LONGEST_NAME`, or looks like a
            part of a list: in brackets or quotes, or with one bracket of a pair.
    """
    if not isinstance(value, str):
        raise UnusableError(f"label {shown(value)} is {kind_of(value)}", "labels are text: write its name")
    return _checked(value)


@lru_cache(maxsize=100_000)
def _checked(value: str) -> str:
    if len(value) > LONGEST_NAME:
        text = f"a label has {len(value)} characters ({shown(value)})"
        raise UnusableError(text, f"give it a name of {LONGEST_NAME} at most; are the labels separated rightly?")
    name = tidy(value)
    if not name:
        raise UnusableError(f"a label is empty ({shown(value)})", "write its name, or take it out")
    hidden = next((letter for letter in name if unicodedata.category(letter) in ("Cc", "Cs", "Co", "Cn")), None)
    if hidden is not None:
        raise UnusableError(
            f"label {shown(name)} holds U+{ord(hidden):04X}, which is no letter", "write its name as text"
        )
    if _is_wrapped(name):
        remedy = 'write a list as ["dog", "sofa"] or dog|sofa, and a name without brackets and quotes around it'
        raise UnusableError(f"label {shown(name)} has brackets or quotes of a list", remedy)
    return name


def tidy(text: str) -> str:
    """Text stripped and in NFC, without invisible characters, and with plain spaces."""
    if text.isascii() and text.isprintable():
        return text.strip()
    text = unicodedata.normalize("NFC", text)
    kept: list[str] = []
    for letter in text:
        if letter.isspace():
            letter = " "
        elif ord(letter) in _INVISIBLE or (letter in _JOINERS and not _joins(kept)):
            continue
        kept.append(letter)
    return unicodedata.normalize("NFC", "".join(kept).strip(" " + _JOINERS))


def plain_name(label: str, *, lookalikes: bool = True) -> str:
    """A label's name without differences of spelling: case, spaces, hyphens and underscores.

    Args:
        label: Its name.
        lookalikes: Also treat wide and joined letters (NFKC), and Cyrillic and Greek ones that look Latin, as equal.
    """
    if lookalikes and not label.isascii():
        label = unicodedata.normalize("NFKC", label).casefold().translate(_LOOKALIKES)
    label = label.casefold()
    return _BETWEEN_LETTERS.sub("", " ".join(_SPACES.sub(" ", label).split()))


def means_nothing(text: str) -> bool:
    """Whether text means "no value", such as nan, None, N/A or -."""
    return tidy(text).casefold() in _NOTHING


def shown(value: object, length: int = 60) -> str:
    """A value for an error message: never long, and only the kind of a nested value."""
    if isinstance(value, str):
        return repr(value if len(value) <= length else value[: length - 1] + "…")
    if value is None or isinstance(value, bool | int | float):
        return repr(value)[:length]
    if isinstance(value, list | tuple | set) and len(value) <= 8 and not any(map(_is_nested, value)):
        return repr(value) if len(repr(value)) <= 2 * length else f"{kind_of(value)} of {len(value)}"
    return kind_of(value)


def kind_of(value: object) -> str:
    """The kind of a value in words: "a number", "a list"."""
    kinds: list[tuple[type | tuple[type, ...], str]] = [
        (str, "text"),
        (bool, "true or false"),
        ((int, float), "a number"),
        ((list, tuple, set), "a list"),
        (dict, "an object"),
        (bytes, "bytes"),
    ]
    if value is None:
        return "nothing (null)"
    return next((words for kind, words in kinds if isinstance(value, kind)), type(value).__name__)


def _is_nested(value: object) -> bool:
    return isinstance(value, list | tuple | set | dict) or (isinstance(value, str) and len(value) > 60)


def _joins(before: list[str]) -> bool:
    return bool(before) and (unicodedata.category(before[-1]) in _JOINED or before[-1] == "\ufe0f")


def _is_wrapped(name: str) -> bool:
    """Whether a name has the brackets or quotes of a list around it, or one bracket of a pair."""
    first, last = name[0], name[-1]
    if first in _QUOTES and last in _QUOTES:
        return True
    if first in _QUOTES and name.count(first) % 2:
        return True
    if last in _QUOTES and name.count(last) % 2 and not (name[-2].isdigit() or (last in "'’" and name[-2] in "sSxz")):
        return True  # 24" is in inches, dogs' a plural
    if _PRINTED.search(name):
        return True
    open_: list[int] = []
    for place, letter in enumerate(name):
        if letter in _PAIRS:
            open_.append(place)
        elif letter in _PAIRS.values():
            if not open_ or _PAIRS[name[open_[-1]]] != letter:
                return True
            if open_.pop() == 0 and place == len(name) - 1:
                return True  # all of it is in brackets
    return bool(open_)
