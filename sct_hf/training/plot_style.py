"""Style of plots: colours, sizes, and fonts that have all letters of their names."""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from tqdm import tqdm

from sct_hf.escaping import in_line
from sct_hf.fonts import cut, escaped, fonts_for, quiet_about_weights

INK, FAINT = "#22303c", "#d9dee3"
LONGEST_NAME = 24
_STYLE: Any = {
    **{"font.size": 9, "axes.titlesize": 10, "axes.edgecolor": FAINT, "text.color": INK, "axes.labelcolor": INK},
    "text.parse_math": False,  # labels may hold $
}


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
    with matplotlib.rc_context(_STYLE), quiet_about_weights():
        fonts, missing = fonts_for("".join(map(in_line, names)))

        def drawn(name: str) -> str:
            return cut([escaped(letter) if letter in missing else in_line(letter) for letter in name], longest)

        if unwritten := [name for name in names if missing & {*name}]:
            tqdm.write(
                f"note: no font of this machine has all letters of {len(unwritten)} names, such as {unwritten[0]!r}: "
                f"plots write {drawn(unwritten[0])}; install a font that has them, such as Noto Sans",
                file=sys.stderr,
            )
        matplotlib.rcParams["font.family"] = fonts
        yield drawn
