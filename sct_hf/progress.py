"""Progress bars that suit terminals and log files, and lines above them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

from sct_hf.escaping import in_lines

_SECONDS_IN_A_LOG = 30.0
_SHORT = 1.0  # seconds of work that show no bar


def progress_bar(iterable: Any = None, *, shown: bool, **options: Any) -> Any:
    """A tqdm bar. It moves twice a second on a terminal and prints a line now and then if stderr is a log.

    Args:
        iterable: The items to iterate over, if any.
        shown: Whether this process shows the bar; in a distributed run one does.
        **options: Further options of `tqdm`.
    """
    pause = 0.5 if sys.stderr.isatty() else _SECONDS_IN_A_LOG
    return tqdm(iterable, disable=not shown, mininterval=pause, **options)


def step_bar(iterable: Any = None, **options: Any) -> Any:
    """A `progress_bar` of a step that may be short: shown after a second, by the first process of a run.

    Args:
        iterable: The items to iterate over, if any.
        **options: Further options of `tqdm`.
    """
    shown = os.environ.get("RANK", "0") == "0"
    return progress_bar(iterable, shown=shown, delay=_SHORT, leave=False, **options)


_SILENT = False


@contextmanager
def silence() -> Iterator[None]:
    """Inside this block `say` prints nothing: for the parts of a step that says itself how far it is."""
    global _SILENT
    before, _SILENT = _SILENT, True
    try:
        yield
    finally:
        _SILENT = before


def say(accelerator: Any, text: str) -> None:
    """Print `text` once, above the progress bars, without characters that a terminal obeys.

    Args:
        accelerator: The accelerator of this process; only the main process prints.
        text: One or more lines.
    """
    if accelerator.is_main_process and not _SILENT:
        tqdm.write(in_lines(text))
