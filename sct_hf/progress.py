"""Progress bars that suit terminals and log files, and lines above them."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm.auto import tqdm

from sct_hf.escaping import in_lines

_SECONDS_IN_A_LOG = 30.0
_SHORT = 1.0  # seconds of work that show no bar
_UP = "\x1b[A"  # moves a terminal's cursor up


class _Bar(tqdm):
    """A bar whose `delay` holds too where lines are written above it, and which goes if it was drawn for one."""

    _is_drawn = False

    def refresh(self, *args: Any, **options: Any) -> Any:
        if self.disable or (self.delay and time.time() < self.start_t + self.delay):
            return None
        self._is_drawn = True
        return super().refresh(*args, **options)

    def close(self) -> None:
        if self._is_drawn and not self.disable and self.leave is False:
            self.clear()
        super().close()


class _Lines:
    """A log as a bar writes to it: each state of the bar is a line of its own."""

    def __init__(self, log: TextIO) -> None:
        self.encoding = getattr(log, "encoding", None)  # what redirects stderr to a logger may have none
        self._log = log
        self._last = ""

    def write(self, text: str) -> None:
        state = text.replace(_UP, "").strip("\r\n ")
        if state and state != self._last:
            self._log.write(f"{state}\n")
            self._last = state

    def flush(self) -> None:
        self._log.flush()


def progress_bar(iterable: Any = None, *, shown: bool, **options: Any) -> Any:
    """A tqdm bar. It moves twice a second on a terminal, and prints a line now and then if stderr is a log.

    Args:
        iterable: The items to iterate over, if any.
        shown: Whether this process shows the bar; in a distributed run one does.
        **options: Further options of `tqdm`.
    """
    if sys.stderr.isatty():
        return _Bar(iterable, disable=not shown, mininterval=0.5, **options)
    return _Bar(iterable, disable=not shown, mininterval=_SECONDS_IN_A_LOG, file=_Lines(sys.stderr), **options)


def step_bar(iterable: Any = None, **options: Any) -> Any:
    """A `progress_bar` of a step that may be short: shown after a second, by the first process of a run.

    Args:
        iterable: The items to iterate over, if any.
        **options: Further options of `tqdm`.
    """
    shown = os.environ.get("RANK", "0") == "0"
    return progress_bar(iterable, shown=shown, delay=_SHORT, leave=False, **options)


@contextmanager
def activity(text: str) -> Iterator[None]:
    """Say on a terminal what this block does, in a line that goes when it ends."""
    with progress_bar(shown=sys.stderr.isatty(), bar_format="{desc}", desc=f"{text} …", leave=False, position=0):
        yield


@contextmanager
def above_bars(stream: TextIO) -> Iterator[None]:
    """What this block writes to stdout or stderr stands above the bars, where the stream is a terminal."""
    if not stream.isatty():
        yield
        return
    with tqdm.external_write_mode(file=stream):
        yield


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
