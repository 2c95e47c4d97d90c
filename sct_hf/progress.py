"""Progress bars that also serve a log file, and lines above them."""

import sys
from typing import Any

from tqdm.auto import tqdm

from sct_hf.escaping import in_lines

_SECONDS_IN_A_LOG = 30.0


def progress_bar(iterable: Any = None, *, shown: bool, **options: Any) -> Any:
    """A tqdm bar that moves twice a second on a terminal, and gives a line now and then where stderr is a log.

    Args:
        iterable: What to go through, if anything.
        shown: Whether this process shows it: one of a distributed run.
        **options: Further options of `tqdm`.
    """
    pause = 0.5 if sys.stderr.isatty() else _SECONDS_IN_A_LOG
    return tqdm(iterable, disable=not shown, mininterval=pause, **options)


def say(accelerator: Any, text: str) -> None:
    """Print `text` once, above the progress bars, without characters that a terminal obeys.

    Args:
        accelerator: Of this process; the main one of a distributed run prints.
        text: A line, or several.
    """
    if accelerator.is_main_process:
        tqdm.write(in_lines(text))
