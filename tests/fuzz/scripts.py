"""Scripts of the project, run in this process as the command line does."""

import contextlib
import importlib.util
import io
import sys
from functools import cache
from pathlib import Path
from typing import Any

_SCRIPTS = Path(__file__).parents[2] / "scripts"


class RefusedError(Exception):
    """What a script says, in one line, when it refuses its input or leaves a file out."""


def run_script(name: str, *words: object) -> str:
    """Run a script.

    Returns:
        What it printed.

    Raises:
        RefusedError: It ended with exit code 1 or 2, and a line that says why.
        Exception: Any other: at the command line it would be a traceback.
    """
    printed, told = io.StringIO(), io.StringIO()
    former = sys.argv
    sys.argv = [f"{name}.py", *map(str, words)]  # some parse these themselves
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
            code = _script(name).main()
    finally:
        sys.argv = former
    last = told.getvalue().strip("\n").rpartition("\n")[2]
    if code == 2 and not last.startswith("error: "):
        raise AssertionError(f"it ends with another line than `error: …`: {last!r}")
    if code in (1, 2):
        raise RefusedError(last)
    if code != 0:
        raise AssertionError(f"exit code {code}")
    return printed.getvalue()


@cache
def _script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"fuzzed_{name}", _SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
