"""The parser of commands whose options are no dataclasses: an unknown option is an error with the nearest names."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sct_hf.errors import InputError
from sct_hf.options import did_you_mean


class CommandParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` that raises `InputError` instead of ending the process."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse arguments; argparse would tell of a missing argument before an unknown option.

        Raises:
            InputError: An option is unknown, or a value does not fit.
        """
        words = list(sys.argv[1:] if args is None else args)
        known = [word for action in self._actions for word in action.option_strings]
        for word in words[: words.index("--") if "--" in words else None]:
            name = word.partition("=")[0]
            if word.startswith("--") and not any(option.startswith(name) for option in known):
                written = {option.lstrip("-"): option for option in known if option.startswith("--")}
                raise InputError(f"{name} is no option{did_you_mean(name, written)}")
        return super().parse_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise `InputError`."""
        raise InputError(f"{message}; see {self.prog} --help")
