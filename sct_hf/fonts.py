"""Fonts of the machine that have the letters of names in them. It needs matplotlib, which brings one."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

_FONT = "DejaVu Sans"  # comes with matplotlib
_WEIGHTS = ("normal", "bold")


def fonts_for(text: str) -> tuple[list[str], set[str]]:
    """Font families that together have the letters of a text, and the letters that none has."""
    fonts, missing = [_FONT], {letter for letter in text if ord(letter) not in _letters(_FONT)}
    while missing:
        found = {family: sum(ord(letter) in _letters(family) for letter in missing) for family in _families()}
        family = max(found, key=lambda name: found[name], default=_FONT)
        if not found.get(family):
            break
        fonts.append(family)
        missing = {letter for letter in missing if ord(letter) not in _letters(family)}
    return fonts, missing


@cache
def _families() -> list[str]:
    """Font families, sans-serif first, without those that draw boxes or coloured images for letters."""
    names = {font.name for font in fontManager.ttflist if font.style == "normal"}
    usable = [name for name in names if not name.startswith("Last Resort") and "Color" not in name]
    return sorted(usable, key=lambda name: ("Sans" not in name, "Mono" in name, name))


@cache
def _letters(family: str) -> frozenset[int]:
    """Code points with glyphs in every weight that plots use."""
    found: list[frozenset[int]] = []
    for weight in _WEIGHTS:
        try:
            font = FT2Font(findfont(FontProperties(family=[family], weight=weight), fallback_to_default=False))
        except (OSError, RuntimeError, ValueError):  # of fonts that were removed or cannot be read
            return frozenset()
        found.append(frozenset(font.get_charmap()) if font.scalable else frozenset())
    return frozenset.intersection(*found)


@cache
def font_of(letter: str) -> str | None:
    """The file of a font that has a letter, None if no font of the machine has it."""
    with quiet_about_weights():
        families, missing = fonts_for(letter)
        return None if missing else findfont(FontProperties(family=[families[-1]]), fallback_to_default=False)


def escaped(letter: str) -> str:
    """A letter as Python escapes it."""
    return letter.encode("unicode_escape").decode()


def cut(letters: Sequence[str], longest: int) -> str:
    """Join letters or their escapes to a text with a limited number of characters."""
    text, kept = "".join(letters), min(len(letters), longest)
    while len(text) > longest and kept:
        kept -= 1
        text = "".join([*letters[: (kept + 1) // 2], "…", *letters[len(letters) - kept // 2 :]])
    return text


@contextmanager
def quiet_about_weights() -> Iterator[None]:
    """Silence matplotlib's warnings about families without bold letters."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
