"""Render the help of every command into help/: `python -m sct_hf.cli._help`. Showing it needs no import of torch."""

import argparse
import importlib
import os
from pathlib import Path

from sct_hf_cli import FOLDER, command_names, first_line, module_name

SHELLS = ("bash", "zsh", "tcsh")


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    parser: argparse.ArgumentParser = importlib.import_module(module_name(name)).parser()
    return parser


def help_texts() -> dict[str, str]:
    """The help text of each command, 100 characters wide, by file name."""
    os.environ["COLUMNS"] = "100"
    return {f"{name}.txt": command_parser(name).format_help() for name in command_names()}


def completions() -> dict[str, str]:
    """A completion script for each shell, by file name."""
    import shtab

    root = argparse.ArgumentParser(prog="sct-hf")
    commands = root.add_subparsers()
    for name in command_names():
        parser = command_parser(name)
        commands.add_parser(name, help=first_line(name), parents=[parser], add_help=False, conflict_handler="resolve")
    return {f"completion.{shell}": shtab.complete(root, shell=shell) for shell in SHELLS}


def main() -> None:
    """Write all files of help/."""
    folder: Path = FOLDER / "help"
    folder.mkdir(exist_ok=True)
    for name, text in {**help_texts(), **completions()}.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
