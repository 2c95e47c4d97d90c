"""The start of this process: its command line, and the requested number of processes."""

import os
import shlex
import sys
from pathlib import Path

import psutil

_USE_CPU = "ACCELERATE_USE_CPU"


def started_with() -> list[str]:
    """Words of the command line that started this process, or its launcher."""
    if launcher() is None:
        first, *words = _own_words()
        return ["sct-hf", *words] if Path(first).name == "sct-hf" else [Path(sys.orig_argv[0]).name, first, *words]
    python, program, *words = _of_parent()
    if program.startswith("-"):  # python -m torch.distributed.run …
        return [Path(python).name, program, *words]
    return [Path(program).name, *words]  # python /…/bin/accelerate launch …


def command_to_go_on(*, resumes: bool) -> str:
    """A shell command that continues the run of this process.

    Args:
        resumes: Whether the command already has --resume.
    """
    words = started_with()
    if not resumes:
        words = [*words, "--resume"]
    use_cpu = os.environ.get(_USE_CPU)
    prefix = "" if use_cpu is None or words[0] == "accelerate" else f"{_USE_CPU}={use_cpu} "
    return prefix + shlex.join(words)


def launcher() -> int | None:
    """The id of a parent Python process that got this one's command line, such as accelerate or torchrun.

    None if there is no such parent.
    """
    words, own = _of_parent(), _own_words()
    starts = len(words) > len(own) + 1 and words[-len(own) :] == own and Path(words[0]).name.startswith("python")
    return os.getppid() if starts else None


def runs_alone(processes: int) -> bool:
    """Whether `accelerate launch` was asked for several processes but started one, as on CPU without mpirun.

    It sets a meeting address for several processes; torchrun or mpirun then give each its rank.

    Args:
        processes: Number of processes of this run.
    """
    own = os.environ
    launched = processes == 1 and "ACCELERATE_MIXED_PRECISION" in own and "WORLD_SIZE" not in own
    return launched and "MASTER_PORT" in own and "MASTER_PORT" not in _environment_of_parent()


def _own_words() -> list[str]:
    words = sys.orig_argv[1:]
    return words[1:] if words[:1] == ["-u"] else words  # torchrun adds it


def _of_parent() -> list[str]:
    try:
        return psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return []


def _environment_of_parent() -> dict[str, str]:
    try:
        return psutil.Process(os.getppid()).environ()
    except psutil.Error:
        return dict(os.environ)
