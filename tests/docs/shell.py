"""The commands of a shell block, and whether they would be accepted."""

import importlib
import re
import shlex
import tomllib
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from accelerate.commands.launch import launch_command_parser
from packaging.requirements import Requirement
from torch.distributed.run import get_args_parser

from sct_hf.benchmark.speed import SpeedArguments
from sct_hf.cli.benchmark import COMMANDS, SPEED
from sct_hf.training.parsing import parse, parse_into, parse_with_training
from sct_hf_cli import command_names, module_name
from tests.docs.pages import ROOT

_ENDS = {"&&", "||", ";", "|"}
_ASSIGNMENT = re.compile(r"([A-Z_]+)=(.*)")
_SCRIPTS = {"check-data": "check", "embed-labels": "embed", "hide-labels": "hide"}
_EXPORTS = "outputs/"


@dataclass(frozen=True)
class Command:
    """A command of a shell block.

    Attributes:
        words: The program and its arguments.
        environment: Variables assigned before it.
        comment: The comment that ends its line.
    """

    words: list[str]
    environment: dict[str, str]
    comment: str

    def own_words(self) -> list[str] | None:
        """The command of `sct-hf` that it runs, by whatever launcher, and its arguments; None if it runs another.

        Raises:
            AssertionError, SystemExit: A script that there is not, or options that a launcher refuses.
        """
        name, *rest = self.words
        return _OWN_WORDS[name](rest) if name in _OWN_WORDS else None


def commands(code: str) -> Iterator[Command]:
    """The commands of a block in order."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        environment: dict[str, str] = {}
        for word in [*lexer, ";"]:
            if word in _ENDS:
                if words:
                    yield Command(words, environment, line.partition(" # ")[2].strip())
                words, environment = [], {}
            elif not words and (assigned := _ASSIGNMENT.fullmatch(word)):
                environment[assigned[1]] = assigned[2]
            else:
                words.append(word)


def check_commands(code: str) -> int:
    """Check every command of a block, and count them.

    Raises:
        AssertionError: A command, an extra or a file that there is not.
        InputError, SystemExit: Options that a command refuses.
    """
    found = list(commands(code))
    for command in found:
        name, *words = command.words
        own = command.own_words()
        if own is not None:
            _check_own(own)
        elif name not in _OWN_WORDS:
            assert name in _CHECKS, f"{name}: mark the block as not run, or check its options here"
            _CHECKS[name](words)
    return len(found)


def _check_own(words: list[str]) -> None:
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
    importlib.import_module(module_name(command)).parser().parse_args(rest)


def _script(path: str, words: list[str]) -> list[str] | None:
    if path.startswith(_EXPORTS):  # written by a command above it
        return None
    assert (ROOT / path).is_file(), f"{path}: no such file"
    name = path.removeprefix("scripts/").removesuffix(".py").replace("_", "-")
    return [_SCRIPTS.get(name, name), *words]


def _python(words: list[str]) -> list[str] | None:
    return words[2:] if words[:2] == ["-m", "sct_hf"] else _script(words[0], words[1:])


def _accelerate(words: list[str]) -> list[str] | None:
    assert words[0] == "launch"
    return _launched(launch_command_parser().parse_args(words[1:]))


def _torchrun(words: list[str]) -> list[str] | None:
    return _launched(get_args_parser().parse_args(words))


def _launched(known: Namespace) -> list[str] | None:
    if known.module:
        assert known.training_script == "sct_hf.cli"
        return list(known.training_script_args)
    return _script(known.training_script, known.training_script_args)


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


_OWN_WORDS: dict[str, Callable[[list[str]], list[str] | None]] = {
    "sct-hf": lambda words: words,
    **{"python": _python, "accelerate": _accelerate, "torchrun": _torchrun},
}
_CHECKS: dict[str, Callable[[list[str]], None]] = {
    **{"pip": _pip, "pytest": _pytest},
    **{name: _step_of_ci(name) for name in ("ruff", "typos", "mypy", "lint-imports", "mkdocs")},
}
