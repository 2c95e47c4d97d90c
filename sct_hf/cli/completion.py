"""Print the completion script of a shell."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sct_hf.cli._parser import CommandParser

_SCRIPTS = Path(__file__).parent / "help"


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf completion",
        description="Print a script that completes the commands and options of sct-hf.",
        epilog='For bash: eval "$(sct-hf completion bash)", also as a line of ~/.bashrc.',
    )
    shells = sorted(path.suffix[1:] for path in _SCRIPTS.glob("completion.*") if path.suffix != ".txt")
    made.add_argument("shell", choices=shells or None, help="The shell.")
    return made


def main(argv: Sequence[str]) -> int:
    """Print the script, and return the exit code 0."""
    shell = parser().parse_args(argv).shell
    print((_SCRIPTS / f"completion.{shell}").read_text(encoding="utf-8"), end="")
    return 0
