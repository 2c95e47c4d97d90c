"""Commands of `sct-hf`, run in this process as the command line does."""

import contextlib
import io

from sct_hf_cli import run


class RefusedError(Exception):
    """What a command says, in one line, when it refuses its input or leaves a file out."""


def run_command(name: str, *words: object) -> str:
    """Run a command.

    Returns:
        What it printed.

    Raises:
        RefusedError: It ended with exit code 1 or 2, and a line that says why.
        Exception: Any other: at the command line it would be a traceback.
    """
    printed, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
        code = run(name, *map(str, words))
    last = told.getvalue().strip("\n").rpartition("\n")[2]
    if code == 2 and not last.startswith("error: "):
        raise AssertionError(f"it ends with another line than `error: …`: {last!r}")
    if code in (1, 2):
        raise RefusedError(last)
    if code != 0:
        raise AssertionError(f"exit code {code}")
    return printed.getvalue()
