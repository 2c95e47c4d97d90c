"""Runs of several processes from the examples of accelerate's configuration, on CPUs that talk through gloo."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_resume import BALANCED, KILLED, assert_same_outcome, environment, outcome

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "accelerate"

# A run that also tells the share of the weights that each of its processes holds.
TRAINING = """
import sys
from sct_hf.training import run
from sct_hf.training.loop import train
from sct_hf.training.parsing import parse

prepare = run.prepare

def noted(*parts):
    objective, optimizer = prepare(*parts)
    held = [weight.to_local() if hasattr(weight, "to_local") else weight for weight in objective.parameters()]
    share = sum(weight.numel() for weight in held) / sum(weight.numel() for weight in objective.parameters())
    print(f"holds {share:.2f} of the weights", flush=True)
    return objective, optimizer

run.prepare = noted
train(parse(sys.argv[1:]))
"""
VIT = {"backbone": "test_vit", "holdout": 0.0, "epochs": 1}
MODES: dict[str, dict[str, Any]] = {
    "convolutions, accumulated": {"gradient_accumulation": 2, "freeze_stages": 1},
    "transformer in bfloat16": VIT | {"mixed_precision": "bf16"},
    "cached": {"freeze_backbone": True, "cache_features": True},
    "balanced": BALANCED,
    "recovered and blended, with a teacher": {"known_proportion": 0.5, "unknown_labels": "blend", "ema_decay": 0.5},
    "another head": VIT | {"head": "linear"},
    "compared with a head": {"compare_head": "linear", "epochs": 1},
}


class Launch:
    """Starts a program with `accelerate launch` and an example, two processes in all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(
        self, example: str, words: list[str], program: str = TRAINING, machine: int | None = None
    ) -> subprocess.Popen[str]:
        script = self.folder / f"program-{len(program)}.py"
        script.write_text(program, encoding="utf-8")
        accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(EXAMPLES / example)]
        options = ["--num_processes", "2", "--main_process_port", str(self.port)]
        if machine is None:
            options += ["--num_machines", "1"]
        else:
            options += ["--machine_rank", str(machine), "--main_process_ip", "127.0.0.1"]
        return subprocess.Popen(
            [*accelerate, *options, str(script), *words],
            env=environment() | {"ACCELERATE_USE_CPU": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: Any, **options: Any) -> str:
        process = self.start(*arguments, **options)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return output


def assert_equal_weights(one: Path, other: Path, *, within: float) -> None:
    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=within, msg=lambda text, name=name: name + text)


def test_sharded_training_has_the_weights_of_unsharded(tmp_path: Path, words: Callable[..., list[str]]) -> None:
    launch = Launch(tmp_path)
    whole = launch("two_machines.yaml", words(output_dir=tmp_path / "whole", **VIT))
    assert whole.count("holds 1.00 of the weights") == 2
    assert "weights sharded" not in whole
    sharded = launch("fsdp2.yaml", words(output_dir=tmp_path / "sharded", **VIT))
    assert sharded.count("holds 0.5") == 2, sharded
    assert "2 processes on cpu, 1 thread each, weights sharded over them" in sharded
    assert_equal_weights(tmp_path / "sharded", tmp_path / "whole", within=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_way_of_training_can_be_sharded(tmp_path: Path, words: Callable[..., list[str]], mode: str) -> None:
    launch = Launch(tmp_path)
    # Sharded weights are never channels last, and batch norms of two values blow up what other kernels round.
    options = MODES[mode] | {"cache_dir": tmp_path / "cache", "channels_last": False}
    for example, folder in {"two_machines.yaml": "whole", "fsdp2.yaml": "sharded"}.items():
        launch(example, words(output_dir=tmp_path / folder, **options))
    # Not the weights: Adam makes whole steps of the rounding of gradients that are zero, as before a batch norm.
    (whole, losses, _), (sharded, sharded_losses, _) = (outcome(tmp_path / folder) for folder in ("whole", "sharded"))
    assert whole.keys() == sharded.keys()
    rounding = 1e-2 if options.get("mixed_precision") == "bf16" else 1e-4
    for one, other in zip(losses, sharded_losses, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=rounding)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"gradient_accumulation": 2} | VIT], ids=["fine-tuned", "accumulated"])
def test_kill_one_of_two_sharded_processes(
    tmp_path: Path, words: Callable[..., list[str]], more: dict[str, Any]
) -> None:
    launch, options = Launch(tmp_path), {"checkpoint_every": 2, **more}
    launch("fsdp2.yaml", ["-1", "1", *words(output_dir=tmp_path / "whole", **options)], KILLED)
    stopped = words(output_dir=tmp_path / "stopped", **options)
    killed = launch.start("fsdp2.yaml", ["3", "1", *stopped], KILLED)
    killed.communicate()
    assert killed.returncode != 0
    assert "resumed from" in launch("fsdp2.yaml", ["-1", "1", *stopped, "--resume"], KILLED)
    assert_same_outcome(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("examples", [("two_machines.yaml", "fsdp2.yaml"), ("fsdp2.yaml", "two_machines.yaml")])
def test_a_run_goes_on_with_weights_sharded_or_whole(
    tmp_path: Path, words: Callable[..., list[str]], examples: tuple[str, str]
) -> None:
    launch = Launch(tmp_path)
    first, then = examples
    launch(first, ["-1", "1", *words(output_dir=tmp_path / "whole", **VIT)], KILLED)
    stopped = words(output_dir=tmp_path / "stopped", checkpoint_every=1, **VIT)
    killed = launch.start(first, ["4", "1", *stopped], KILLED)
    killed.communicate()
    assert killed.returncode != 0
    assert "resumed from" in launch(then, ["-1", "1", *stopped, "--resume"], KILLED)
    # A step moves a weight by up to the learning rate of 1e-3, so that lost moments would show.
    assert_equal_weights(tmp_path / "stopped", tmp_path / "whole", within=1e-4)


@pytest.mark.slow
def test_two_machines(tmp_path: Path, words: Callable[..., list[str]]) -> None:
    """Two launchers that meet at an address, as on two machines, have the weights of one with two processes."""
    launch = Launch(tmp_path)
    launch("two_machines.yaml", words(output_dir=tmp_path / "one", **VIT))
    command = words(output_dir=tmp_path / "two", **VIT)
    machines = [launch.start("two_machines.yaml", command, machine=rank) for rank in (0, 1)]
    told = [machine.communicate() for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told
    assert "2 processes on cpu" in told[0][0]
    assert_equal_weights(tmp_path / "two", tmp_path / "one", within=1e-6)
