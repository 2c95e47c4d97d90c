"""Style of plots: colours, sizes, and fonts that have all letters of their names."""

import logging
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from tqdm import tqdm

from sct_hf.escaping import in_line

INK, FAINT = "#22303c", "#d9dee3"
LONGEST_NAME = 24
_STYLE: Any = {
    **{"font.size": 9, "axes.titlesize": 10, "axes.edgecolor": FAINT, "text.color": INK, "axes.labelcolor": INK},
    "text.parse_math": False,  # labels may hold $
}
_FONT = "DejaVu Sans"  # comes with matplotlib
_WEIGHTS = ("normal", "bold")


@contextmanager
def styled(names: Collection[str] = (), longest: int = LONGEST_NAME) -> Iterator[Callable[[str], str]]:
    r"""Draw in this project's style, with fonts of this machine that have the letters of `names`.

    Args:
        names: Users' names of labels or data sets.
        longest: Most characters of a name; a longer one loses its middle.

    Yields:
        A function from a name to the text to draw. Letters that no font has are escaped as in Python, such as
        \u72d7; one line on stderr reports them.
    """
    with matplotlib.rc_context(_STYLE), _quiet_about_weights():
        fonts, missing = fonts_for("".join(map(in_line, names)))

        def drawn(name: str) -> str:
            return _cut([_escaped(letter) if letter in missing else in_line(letter) for letter in name], longest)

        if unwritten := [name for name in names if missing & {*name}]:
            tqdm.write(
                f"note: no font of this machine has all letters of {len(unwritten)} names, such as {unwritten[0]!r}: "
                f"plots write {drawn(unwritten[0])}; install a font that has them, such as Noto Sans",
                file=sys.stderr,
            )
        matplotlib.rcParams["font.family"] = fonts
        yield drawn


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


@contextmanager
def _quiet_about_weights() -> Iterator[None]:
    """Silence matplotlib's warnings about families without bold letters."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _cut(letters: Sequence[str], longest: int) -> str:
    """Join letters or their escapes to a text with a limited number of characters."""
    text, kept = "".join(letters), min(len(letters), longest)
    while len(text) > longest and kept:
        kept -= 1
        text = "".join([*letters[: (kept + 1) // 2], "…", *letters[len(letters) - kept // 2 :]])
    return text
