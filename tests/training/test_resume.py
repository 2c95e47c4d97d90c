"""A run that stops and goes on ends exactly where an undisturbed one ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sct_hf.training import checkpoints, run
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train

REPOSITORY = Path(__file__).parents[2]
COLLAGES = {"collage": 0.5}  # drawn batch by batch
BALANCED = {
    **{"resampling": "repeat_factor", "repeat_threshold": 0.6, "positive_weights": "auto", "label_gammas": "auto"},
    **{"logit_adjustment": 0.5, "frequency_groups": "thirds"},
}

# A run that kills its own process, for good and at once, before the averaged weights take in step number `victim`.
KILLED = """
import os, signal, sys
from sct_hf.training import run
from sct_hf.training.parsing import parse
from sct_hf.training.loop import train

update, victim, rank = run.AveragedModel.update, int(sys.argv[1]), sys.argv[2]

def update_or_die(self, model, step):
    if step == victim and os.environ.get("RANK", "0") == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    update(self, model, step)

run.AveragedModel.update = update_or_die
train(parse(sys.argv[3:]))
"""

# The same in a save, when it calls the function `name` of checkpoints.py for step number `victim`.
KILLED_IN_A_SAVE = """
import os, signal, sys
from sct_hf.training import checkpoints, run
from sct_hf.training.parsing import parse
from sct_hf.training.loop import train

save, victim, name = run.save_checkpoint, int(sys.argv[1]), sys.argv[2]

def save_or_die(folder, state, trained, *, keep):
    if state.step == victim:
        setattr(checkpoints, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    save(folder, state, trained, keep=keep)

run.save_checkpoint = save_or_die
train(parse(sys.argv[3:]))
"""


class StoppedError(Exception):
    pass


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], dict[str, Any]]:
    """Final weights, history and metrics, without what time decides."""
    history = json.loads((folder / "history.json").read_text())
    for row in history:
        row.pop("images_per_second")
        row.pop("data_wait_share")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics.pop("train_seconds")
    return load_file(folder / "model.safetensors"), history, metrics


def assert_same_outcome(one: Path, other: Path) -> None:
    (weights, *rest), (other_weights, *other_rest) = outcome(one), outcome(other)
    assert weights.keys() == other_weights.keys()
    assert [name for name in weights if not torch.equal(weights[name], other_weights[name])] == []
    assert rest == other_rest


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    update = run.AveragedModel.update

    def update_or_stop(self: run.AveragedModel, model: Any, at: int) -> None:
        if at == step:
            raise StoppedError
        update(self, model, at)

    monkeypatch.setattr(run.AveragedModel, "update", update_or_stop)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Arguments]) -> dict[int, Path]:
    """Folders of undisturbed runs by gradient accumulation: 6 batches an epoch are 6 steps, or windows of 4 and 2."""
    folders = {}
    for accumulation in (1, 4):
        folders[accumulation] = tmp_path_factory.mktemp("undisturbed") / "run"
        train(tiny(output_dir=folders[accumulation], gradient_accumulation=accumulation, **COLLAGES))
    return folders


def test_kill_in_the_middle_of_an_epoch(
    tmp_path: Path, words: Callable[..., list[str]], tiny: Callable[..., Arguments], undisturbed: dict[int, Path]
) -> None:
    options = {"output_dir": tmp_path / "run", "checkpoint_every": 2, **COLLAGES}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "10", "0", *words(**options)], env=environment(), capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    newest = checkpoints.newest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest.name == "checkpoint-00000008"  # 2 batches into the second epoch; step 9 is done again
    train(tiny(**options, resume=True))
    assert_same_outcome(tmp_path / "run", undisturbed[1])
    assert checkpoints.newest_checkpoint(tmp_path / "run") is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "left"), [("save_weights", "04"), ("save_plain", "04"), ("seal", "04"), ("sync", "06"), ("_remove", "06")]
)
def test_kill_in_a_save(
    tmp_path: Path,
    words: Callable[..., list[str]],
    tiny: Callable[..., Arguments],
    undisturbed: dict[int, Path],
    name: str,
    left: str,
) -> None:
    """The save of step 6, at the end of the first epoch: its best weights are written before."""
    options = {"output_dir": tmp_path / "run", "checkpoint_every": 2, **COLLAGES}
    command = [sys.executable, "-c", KILLED_IN_A_SAVE, "6", name, *words(**options)]
    killed = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    newest = checkpoints.newest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest.name == f"checkpoint-000000{left}"
    train(tiny(**options, resume=True))
    assert_same_outcome(tmp_path / "run", undisturbed[1])
    files = [{path.name for path in folder.iterdir()} for folder in (tmp_path / "run", undisturbed[1])]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("accumulation", "step", "every", "workers"),
    [(1, 1, 1, 0), (1, 5, 3, 0), (1, 7, 0, 0), (1, 12, 1, 0), (1, 5, 3, 2), (4, 2, 1, 0), (4, 4, 1, 0)],
)
def test_stop_anywhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny: Callable[..., Arguments],
    undisturbed: dict[int, Path],
    accumulation: int,
    step: int,
    every: int,
    workers: int,
) -> None:
    options = {"output_dir": tmp_path, "checkpoint_every": every, "gradient_accumulation": accumulation, **COLLAGES}
    options["num_workers"] = workers
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(StoppedError):
            train(tiny(**options))
    torch.rand(7)  # whatever ran before must not matter
    train(tiny(**options, resume=True))
    assert_same_outcome(tmp_path, undisturbed[accumulation])


BALANCED_AND_CACHED = {**BALANCED, "freeze_backbone": True, "cache_features": True}
UNKNOWN = {"known_proportion": 0.5, **COLLAGES}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(BALANCED, id="balanced"),
        pytest.param(BALANCED_AND_CACHED, id="balanced and cached"),
        pytest.param({"head": "sct_label_graph"}, id="label graph"),
        *(pytest.param({**UNKNOWN, "unknown_labels": name}, id=name) for name in ("negative", "recover", "blend")),
    ],
)
def test_stop_with_other_ways_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Arguments], options: dict[str, Any]
) -> None:
    options = {**options, "checkpoint_every": 3, "cache_dir": tmp_path / "cache"}
    train(tiny(output_dir=tmp_path / "whole", **options))
    with monkeypatch.context() as patch:
        stop_at(patch, 8)
        with pytest.raises(StoppedError):
            train(tiny(output_dir=tmp_path / "stopped", **options))
    torch.rand(7)
    train(tiny(output_dir=tmp_path / "stopped", resume=True, **options))
    assert_same_outcome(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fine-tuned", "accumulated and cached", "balanced", "recovered and blended"])
def test_kill_one_of_two_processes(tmp_path: Path, words: Callable[..., list[str]], mode: str) -> None:
    options: dict[str, Any] = {"checkpoint_every": 2}
    if mode == "balanced":
        options |= BALANCED
    elif mode == "recovered and blended":
        options |= {"known_proportion": 0.5, "unknown_labels": "blend", "ema_decay": 0.5}
    elif mode != "fine-tuned":
        options |= {"gradient_accumulation": 2, "freeze_backbone": True, "cache_features": True}
        options |= {"cache_dir": tmp_path / "cache"}

    def launch(folder: str, victim: int, *flags: str) -> subprocess.CompletedProcess[str]:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--no-python"]
        program = [sys.executable, "-c", KILLED, str(victim), "1"]
        command = [*launcher, *program, *words(output_dir=tmp_path / folder, **options), *flags]
        return subprocess.run(command, env=environment(), capture_output=True, text=True)

    whole = launch("whole", -1)
    assert whole.returncode == 0, whole.stderr
    assert "2 processes on cpu" in whole.stdout
    killed = launch("stopped", 10 // options.get("gradient_accumulation", 1))
    assert killed.returncode != 0
    assert checkpoints.newest_checkpoint(tmp_path / "stopped") is not None
    resumed = launch("stopped", -1, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed from" in resumed.stdout
    assert_same_outcome(tmp_path / "stopped", tmp_path / "whole")
