"""How a process was started, found out from its parent."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sct_hf.training import launch
from sct_hf.training.launch import command_to_go_on, runs_alone, started_with

REPOSITORY = Path(__file__).parents[2]
OWN = ["/env/bin/python3", "-u", "train.py", "--name", "a b"]


@pytest.mark.parametrize(
    ("parent", "told"),
    [
        (["/env/bin/python3", "/env/bin/accelerate", "launch", "--cpu", *OWN[2:]], ["accelerate", "launch", "--cpu"]),
        (
            ["/env/bin/python3", "/env/bin/torchrun", "--nproc_per_node=2", *OWN[2:]],
            ["torchrun", "--nproc_per_node=2"],
        ),
        (["python", "-m", "torch.distributed.run", *OWN[2:]], ["python", "-m", "torch.distributed.run"]),
        (["timeout", "10", *OWN[2:]], ["python3"]),
        (["-bash"], ["python3"]),
        ([], ["python3"]),
    ],
)
def test_the_command_is_that_of_the_launcher(
    monkeypatch: pytest.MonkeyPatch, parent: list[str], told: list[str]
) -> None:
    monkeypatch.setattr(sys, "orig_argv", OWN)
    monkeypatch.setattr(launch, "_of_parent", lambda: parent)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    assert started_with() == [*told, *OWN[2:]]
    assert command_to_go_on(resumes=True).endswith("train.py --name 'a b'")
    assert command_to_go_on(resumes=False).endswith("train.py --name 'a b' --resume")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert command_to_go_on(resumes=True).startswith("ACCELERATE_USE_CPU=true ") == (told[0] != "accelerate")


def test_one_process_that_nobody_asked_for_more_than() -> None:
    assert not runs_alone(1)
    assert not runs_alone(2)


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "told"), [("1", 0), ("2", 1)])
def test_processes_that_accelerate_does_not_start(
    tmp_path: Path, words: Callable[..., list[str]], asked: str, told: int
) -> None:
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu"]
    script = str(REPOSITORY / "scripts" / "train.py")
    command = [*launcher, f"--num_processes={asked}", script, *words(output_dir=tmp_path / "run", epochs=1)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("accelerate was asked for several processes but started one") == told
    assert "1 process on cpu" in done.stdout


def test_the_installed_command_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["/env/bin/python3", "/env/bin/sct-hf", "train", "photos"])
    monkeypatch.setattr(launch, "_of_parent", lambda: ["-bash"])
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    assert command_to_go_on(resumes=False) == "sct-hf train photos --resume"
