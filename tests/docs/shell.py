"""Whether the commands of a shell block would be accepted, without running any."""

import importlib
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator

from accelerate.commands.launch import launch_command_parser
from packaging.requirements import Requirement
from torch.distributed.run import get_args_parser

from sct_hf.benchmark.speed import SpeedArguments
from sct_hf.cli.benchmark import COMMANDS, SPEED
from sct_hf.training.parsing import parse, parse_into, parse_with_training
from sct_hf_cli import command_names
from tests.docs.pages import ROOT

_ENDS = {"&&", "||", ";", "|"}
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_SCRIPTS = {"check_data": "check", "embed_labels": "embed", "hide_labels": "hide"}


def check_commands(code: str) -> int:
    """Check every command of a block, and count them.

    Raises:
        AssertionError: A command, an extra or a file that there is not.
        InputError, SystemExit: Options that a command refuses.
    """
    found = list(_commands(code))
    for name, *words in found:
        check = _CHECKS.get(name)
        assert check is not None, f"{name}: mark the block as not run, or check its options here"
        check(words)
    return len(found)


def _commands(code: str) -> Iterator[list[str]]:
    """The words of each command, without assignments before it."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _ENDS:
                words += [] if not words and _ASSIGNMENT.match(word) else [word]
            elif words:
                yield words
                words = []


def _sct_hf(words: list[str]) -> None:
    command, *rest = words
    assert command in command_names(), f"sct-hf {command}: no such command"
    if command == "train":
        if importlib.import_module("sct_hf.cli.train").parser().parse_args(rest).images is None:
            parse(rest)  # reads the recipe too
        return
    if command == "benchmark" and rest[0] in COMMANDS:
        parse_with_training(rest[1:], COMMANDS[rest[0]][0], default="benchmark_frozen")
        return
    if command == "benchmark":
        assert rest[0] == SPEED
        parse_into(rest[1:], SpeedArguments)
        return
    importlib.import_module(f"sct_hf.cli.{command}").parser().parse_args(rest)


def _script(path: str, words: list[str]) -> None:
    assert (ROOT / path).is_file(), f"{path}: no such file"
    name = path.removeprefix("scripts/").removesuffix(".py")
    _sct_hf([_SCRIPTS.get(name, name), *words])


def _python(words: list[str]) -> None:
    if words[:2] == ["-m", "sct_hf"]:
        _sct_hf(words[2:])
    else:
        _script(words[0], words[1:])


def _accelerate(words: list[str]) -> None:
    assert words[0] == "launch"
    known = launch_command_parser().parse_args(words[1:])
    _launched(known.training_script, known.module, known.training_script_args)


def _torchrun(words: list[str]) -> None:
    known = get_args_parser().parse_args(words)
    _launched(known.training_script, known.module, known.training_script_args)


def _launched(target: str, is_module: bool, words: list[str]) -> None:
    if is_module:
        assert target == "sct_hf.cli"
        _sct_hf(words)
    else:
        _script(target, words)


def _pip(words: list[str]) -> None:
    assert words[0] == "install"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words[1:]:
        if not word.startswith("-"):
            wanted = Requirement(re.sub(r"^\.", project["name"], word))
            assert wanted.name == project["name"], f"{wanted.name}: mark the block as not run"
            assert wanted.extras <= set(project["optional-dependencies"]), wanted.extras


def _pytest(words: list[str]) -> None:
    if "--dist" in words:  # all tests: the command that .ci/run runs too
        assert f"step pytest {shlex.join(words)} " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for word in words:
        assert not word.startswith("tests") or (ROOT / word).exists(), f"{word}: no such tests"


def _step_of_ci(name: str) -> Callable[[list[str]], None]:
    def check(words: list[str]) -> None:
        steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        step = " ".join([name, *words[:1]])
        assert re.search(rf"^ *step {step}\b", steps, re.MULTILINE), f"{step}: no step of .ci/run"

    return check


_CHECKS: dict[str, Callable[[list[str]], None]] = {
    **{"sct-hf": _sct_hf, "python": _python, "accelerate": _accelerate, "torchrun": _torchrun},
    **{"pip": _pip, "pytest": _pytest},
    **{name: _step_of_ci(name) for name in ("ruff", "typos", "mypy", "lint-imports", "mkdocs")},
}
