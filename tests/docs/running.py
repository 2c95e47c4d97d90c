"""Running the commands of shell blocks as they stand on a page, trainings for one epoch."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from shutil import rmtree

import pytest

import sct_hf_cli
from sct_hf.training.arguments import Arguments
from sct_hf.training.own_images import place_words
from sct_hf.training.parsing import parse
from tests.docs.pages import ROOT
from tests.docs.shell import Command

_PROGRAMS = {
    "sct-hf": ["-m", "sct_hf"],
    "python": [],
    "accelerate": ["-m", "accelerate.commands.accelerate_cli"],
    "torchrun": ["-m", "torch.distributed.run"],
}
_OUTPUT = re.compile(r"--(output(_\w+)?|plot|heatmaps)")
_TAGS = re.compile(r"\w+ \d\.\d\d(, \w+ \d\.\d\d)*")


def trains(command: Command) -> bool:
    """Whether a command trains, which takes a process of its own, and more than ten seconds."""
    return (command.own_words() or [None])[0] == "train"


def run_commands(commands: Iterable[Command], capsys: pytest.CaptureFixture[str]) -> int:
    """Run commands in order in the current folder, and count them; `pip` is left to .ci/run.

    `--epochs 1` is added to a training, and `--train_size 64` to one that renders its images; the page's own options
    stand. What a command names as output is removed first, unless a command above wrote it, and must be there
    afterwards. Tags that a comment behind a command shows must be printed.

    Raises:
        AssertionError: A command failed, or did not write or print what it should.
    """
    written: set[Path] = set()
    count = 0
    for command in commands:
        if command.words[0] == "pip":
            continue
        outputs = _outputs(command)
        for path in outputs - written:
            rmtree(path, ignore_errors=True)
        capsys.readouterr()
        code = _run(command)
        printed = capsys.readouterr()
        assert code == 0, f"{command.words} ended with {code}: {printed.out}\n{printed.err}"
        for path in outputs:
            assert path.is_file() or list(path.glob("*")), f"{command.words} wrote no {path}"
        shown = command.comment if _TAGS.fullmatch(command.comment) else ""
        assert shown in printed.out, f"{command.words} did not print {shown}: {printed.out}"
        written |= outputs
        count += 1
    return count


def _run(command: Command) -> int:
    own = command.own_words()
    if command.words[0] == "sct-hf" and not trains(command):
        return sct_hf_cli.main(own)
    name, *words = command.words
    limits = []
    if trains(command):
        renders = _arguments(command).data.dataset == "scenes"
        limits = ["--epochs", "1", *(["--train_size", "64"] if renders else [])]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | command.environment
    process = [sys.executable, *_PROGRAMS[name], *words, *limits]
    done = subprocess.run(process, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout)
    print(done.stderr, file=sys.stderr)
    return done.returncode


def _outputs(command: Command) -> set[Path]:
    """Files and folders that a command names as its output, and the folder of a training."""
    words = command.words
    named = {Path(words[place + 1]) for place, word in enumerate(words) if _OUTPUT.fullmatch(word)}
    return named | ({Path(_arguments(command).train.output_dir)} if trains(command) else set())


def _arguments(training: Command) -> Arguments:
    """The arguments of a training, with those of its recipe, in the folder where it is to run."""
    words, _ = place_words((training.own_words() or [])[1:], recipe=True)
    return parse(words)
