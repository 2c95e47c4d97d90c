"""The command `sct-hf`, outside the package, so that help imports neither torch nor transformers."""

import ast
import difflib
import importlib
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent / "sct_hf" / "cli"
_WRONG_INPUT = 2
_CLOSED_PIPE = 141  # as a shell tells of a program that SIGPIPE ended
_NO_BENCHMARK = "benchmarks come with a clone of the project, not with the installed package"


def command_names() -> list[str]:
    """Names of all commands: the files of sct_hf/cli."""
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def module_name(command: str) -> str:
    """The module of a command."""
    return f"sct_hf.cli.{command.replace('-', '_')}"


def main(argv: list[str] | None = None) -> int:
    """Run `sct-hf COMMAND ...`.

    Args:
        argv: The command and its arguments; those of the process if None.

    Returns:
        The exit code of the command, or 2 if the command does not exist.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else _WRONG_INPUT
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("sct_hf"))
        return 0
    if words[0] not in command_names() and words[0] == "benchmark":
        return _wrong(_NO_BENCHMARK)
    if words[0] not in command_names():
        near = difflib.get_close_matches(words[0], command_names(), n=1)
        remedy = f"did you mean {near[0]}?" if near else f"give one of {', '.join(command_names())}"
        return _wrong(f"{words[0]!r} is no command; {remedy}")
    return run(*words)


def run(command: str, *words: str) -> int:
    """Run one command, and report bad input in one line.

    Args:
        command: Its name.
        *words: Its options.

    Returns:
        The exit code of the command, or 2 for bad input.
    """
    help_text = FOLDER / "help" / f"{command}.txt"
    if {"-h", "--help"} & set(words) and help_text.is_file():
        print(help_text.read_text(encoding="utf-8"), end="")
        return 0
    needed, with_them = _extras(command, words)
    missing_of = runpy.run_path(str(FOLDER.parent / "extras.py"))["missing_of"]  # the package would import torch
    if missing := missing_of(needed, with_them=with_them):
        return _wrong(f"sct-hf {command} needs {missing[0]}, which is not installed: {missing[1]}")
    from sct_hf.errors import InputError
    from sct_hf.extras import install_line
    from sct_hf.startup import collector_paused

    try:
        with collector_paused():
            module = importlib.import_module(module_name(command))
        code = module.main(list(words))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush at the end
        return _CLOSED_PIPE
    except InputError as error:
        from sct_hf.cli._wording import in_options

        return _wrong(in_options(str(error), importlib.import_module(module_name(command)).parser()))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sct_hf.benchmark"):
            return _wrong(_NO_BENCHMARK)
        remedy = install_line(error.name)
        if remedy is None:
            raise
        return _wrong(f"sct-hf {command} needs {error.name}, which is not installed: {remedy}")


def first_line(name: str) -> str:
    """One line on a command: the first line of its file."""
    docstring = ast.get_docstring(ast.parse(_file(name).read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _extras(command: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The extras that a command needs, and those that it mostly needs: `EXTRAS` of its file, read without an import.

    EXTRAS maps a word of the command line to an extra: "" applies without any of the other words, and IMAGES to a
    command line that starts with own images.
    """
    path, table = _file(command), dict[str, str]()
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXTRAS":
            table = ast.literal_eval(node.value)
    values = {word.rpartition("=")[2] for word in words}
    named = [extra for word, extra in table.items() if word and word in values]
    starts = bool(words) and not words[0].startswith("-")
    usual = [table["IMAGES"]] if starts and "IMAGES" in table else []
    return named or [table[""]] if table else [], usual


def _file(command: str) -> Path:
    return FOLDER / f"{command.replace('-', '_')}.py"


def _overview() -> str:
    lines = ["usage: sct-hf COMMAND [--option value ...]", "", "Tag images with many labels at once.", ""]
    lines += [f"  {name:14} {first_line(name)}" for name in command_names()]
    return "\n".join([*lines, "", "`sct-hf COMMAND --help` lists a command's options."])


def _wrong(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return _WRONG_INPUT
