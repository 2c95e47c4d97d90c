"""Checkpoints that are damaged, foreign or half-written: a named error, or what was saved, and no code run."""

import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from sct_hf.errors import InputError
from sct_hf.training import run
from sct_hf.training.arguments import Arguments
from sct_hf.training.checkpoints import Trained, load_checkpoint, newest_checkpoint, save_checkpoint
from sct_hf.training.loop import train
from sct_hf.training.manifest import MANIFEST, seal
from sct_hf.training.optim import one_cycle
from sct_hf.training.random_states import random_states, set_random_states
from sct_hf.training.trainer_state import RunLength, TrainerState

LENGTH = RunLength(epochs=2, batches=6, accumulation=1, batch_size=4)


def make_trained(seed: int, steps: int) -> Trained:
    """A model of a few weights after some steps."""
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(seed)
    objective = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    groups = [{"params": list(objective.parameters()), "lr": 0.1, "weight_decay": 0.0, "name": "head"}]
    optimizer, schedule = one_cycle(groups, total_steps=12, pct_start=0.2)
    for _ in range(steps):
        objective(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        schedule.step()
    return Trained(accelerator, objective, accelerator.prepare(optimizer), schedule, average)


def state_after(step: int) -> TrainerState:
    epoch, batch = divmod(step, LENGTH.batches)
    sums = {"loss": 1.5} if batch else {}
    history = [{"epoch": number + 1} for number in range(epoch)]
    return TrainerState(step, epoch, batch, 4 * batch, sums, 0.5, 0.25, 3.0, epoch, 0.5, "", history)


def everything(trained: Trained) -> dict[str, Any]:
    """All that a checkpoint holds, and three random numbers."""
    draws = [random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item()]
    return {
        "objective": {name: value.clone() for name, value in trained.objective.state_dict().items()},
        "average": {name: value.clone() for name, value in trained.average.state_dict().items()},
        "optimizer": trained.optimizer.state_dict(),
        "schedule": trained.schedule.state_dict(),
        "draws": draws,
    }


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with checkpoints of steps 6 and 8."""
    for step in (6, 8):
        save_checkpoint(tmp_path, state_after(step), make_trained(step, step), keep=2)
    return tmp_path


def test_everything_comes_back(folder: Path) -> None:
    random.gauss(0, 1)
    np.random.standard_normal()  # each leaves a second number for the next call
    trained = make_trained(1, 9)
    save_checkpoint(folder, state_after(9), trained, keep=1)
    saved = everything(trained)
    other = make_trained(2, 3)
    assert not equal(everything(other), saved)
    assert load_checkpoint(folder / "checkpoint-00000009", other, LENGTH) == state_after(9)
    assert equal(everything(other), saved)
    assert [path.name for path in folder.iterdir()] == ["checkpoint-00000009"]
    assert {path.suffix for path in (folder / "checkpoint-00000009").iterdir()} == {".safetensors", ".json"}


def test_the_scaler_of_losses_comes_back(folder: Path) -> None:
    trained, other = make_trained(1, 9), make_trained(2, 3)
    for one, scale in ((trained, 8.0), (other, 2.0)):
        one.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=7)
    save_checkpoint(folder, state_after(9), trained, keep=2)
    load_checkpoint(folder / "checkpoint-00000009", other, LENGTH)
    assert other.accelerator.scaler.get_scale() == 8.0
    with pytest.raises(InputError, match=r"\(optimizer\.safetensors: "):  # written without one
        load_checkpoint(folder / "checkpoint-00000008", other, LENGTH)


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="there is no device but the CPU")
def test_the_random_state_of_a_device_comes_back() -> None:
    device = torch.accelerator.current_accelerator()
    assert device is not None
    states = random_states(device)
    drawn = torch.rand(9, device=device)
    assert not torch.equal(torch.rand(9, device=device), drawn)
    set_random_states(states, device)
    assert torch.equal(torch.rand(9, device=device), drawn)


def flip(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "removed": lambda content: None,
    "cut in half": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "first byte flipped": lambda content: flip(content, 0),
    "a byte flipped": lambda content: flip(content, len(content) // 2),
    "last byte flipped": lambda content: flip(content, -1),
    "longer": lambda content: content + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_file_damaged(folder: Path, damage: str) -> None:
    newest = folder / "checkpoint-00000008"
    trained = make_trained(3, 2)
    before = everything(trained)
    generators = random.getstate(), torch.get_rng_state()
    for path in sorted(newest.iterdir()):
        content = path.read_bytes()
        changed = DAMAGES[damage](content)
        path.unlink() if changed is None else path.write_bytes(changed)
        with pytest.raises(InputError) as caught:
            load_checkpoint(newest, trained, LENGTH)
        message = str(caught.value)
        assert message.startswith(f"checkpoint {newest} cannot be loaded")
        # A changed digest in the manifest looks like a changed file.
        assert path.name in message or (path.name == MANIFEST and "is damaged" in message)
        assert "remove checkpoint-00000008 to continue from checkpoint-00000006, or start again" in message
        path.write_bytes(content)
    assert random.getstate() == generators[0]
    assert torch.equal(torch.get_rng_state(), generators[1])
    assert equal({**everything(trained), "draws": before["draws"]}, before)
    load_checkpoint(newest, trained, LENGTH)  # all bytes are back


def test_any_byte_of_the_manifest_flipped(folder: Path) -> None:
    newest, trained = folder / "checkpoint-00000008", make_trained(3, 2)
    content = (newest / MANIFEST).read_bytes()
    for place in range(len(content)):
        (newest / MANIFEST).write_bytes(flip(content, place))
        with pytest.raises(InputError, match="cannot be loaded"):
            load_checkpoint(newest, trained, LENGTH)


def test_all_is_on_the_disk_before_it_gets_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    renamed: list[list[int]] = []
    fsync, replace = os.fsync, os.replace

    def fsync_and_note(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        fsync(handle)

    def replace_and_note(old: Path, new: Path) -> None:
        renamed.append(list(synced))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", fsync_and_note)
    monkeypatch.setattr(os, "replace", replace_and_note)
    save_checkpoint(folder, state_after(9), make_trained(1, 9), keep=2)
    newest = folder / "checkpoint-00000009"
    files = {path.stat().st_ino for path in newest.iterdir()}
    (before,) = renamed
    assert set(before) == {*files, newest.stat().st_ino}
    assert before[-2:] == [(newest / MANIFEST).stat().st_ino, newest.stat().st_ino]
    assert synced[-1] == folder.stat().st_ino


class Shell:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.marker}'",)


def test_a_pickle_does_not_run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    marker = tmp_path_factory.mktemp("marker") / "ran"
    harm = pickle.dumps(Shell(marker))
    pickle.loads(harm)
    assert marker.exists()  # it would
    marker.unlink()
    newest, trained = folder / "checkpoint-00000008", make_trained(3, 2)
    for name in ("custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin", "scheduler.bin", "scaler.pt"):
        (newest / name).write_bytes(harm)
    assert load_checkpoint(newest, trained, LENGTH) == state_after(8)
    for path in sorted(newest.iterdir()):
        content = path.read_bytes()
        path.write_bytes(harm)
        if path.name != MANIFEST:
            seal(newest)  # whoever wrote the pickle can write the manifest
        if path.suffix in (".safetensors", ".json"):
            with pytest.raises(InputError, match=r"checkpoint-00000008 cannot be loaded"):
                load_checkpoint(newest, trained, LENGTH)
        path.write_bytes(content)
        seal(newest)
    (newest / MANIFEST).unlink()
    with pytest.raises(InputError, match=r"by an earlier version .* as pickles, .* finish the run with that version"):
        load_checkpoint(newest, trained, LENGTH)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epoch", value) for value in (-1, 0, 2, 3, 1.0, "1", None, True)),
        *(("batch", value) for value in (-2, 1, 6, 10**30, 2.0)),
        *(("step", value) for value in (-8, 7, 9, 13, [8])),
        *(("images", value) for value in (-1, 0, 9)),
        *(("seconds", value) for value in (-1.0, float("nan"), float("inf"))),
        *(("loss_sums", value) for value in ({}, {"loss": float("nan")}, {"loss": "1"}, [])),
        *(("best_epoch", value) for value in (-1, 2)),
        *(("best_mAP", value) for value in (float("nan"), 1.5)),
        *(("history", value) for value in ([], [{}], [1], [{"epoch": 1}, {"epoch": 2}])),
        ("colour", "red"),
    ],
)
def test_trainer_state_out_of_range(folder: Path, name: str, value: Any) -> None:
    newest, trained = folder / "checkpoint-00000008", make_trained(3, 2)
    path = newest / "trainer_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    seal(newest)
    # Step, epoch and batch depend on each other: any of them may be the one that does not fit.
    names = r"(epoch|batch|step)" if name in ("epoch", "batch") else name
    with pytest.raises(InputError, match=rf"trainer_state\.json: {names} (is|has).* start again with"):
        load_checkpoint(newest, trained, LENGTH)


def test_trainer_state_of_another_number_of_processes_or_incomplete(folder: Path) -> None:
    newest, trained = folder / "checkpoint-00000008", make_trained(3, 2)
    path = newest / "trainer_state.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "num_processes": 2}))
    seal(newest)
    with pytest.raises(InputError, match="written by 2 processes, and this run has 1: start it with 2"):
        load_checkpoint(newest, trained, LENGTH)
    content.pop("images")
    path.write_text(json.dumps(content))
    seal(newest)
    with pytest.raises(InputError, match=r"trainer_state\.json: images is missing"):
        load_checkpoint(newest, trained, LENGTH)
    path.write_text("[]")
    seal(newest)
    with pytest.raises(InputError, match=r"cannot be loaded \(trainer_state\.json: "):
        load_checkpoint(newest, trained, LENGTH)


def test_a_step_of_several_batches_cannot_be_within_one(folder: Path) -> None:
    length = RunLength(epochs=2, batches=6, accumulation=4, batch_size=4)
    with pytest.raises(InputError, match="batch is 2, but must be a multiple of 4"):
        load_checkpoint(folder / "checkpoint-00000008", make_trained(3, 2), length)


def test_kill_at_any_access_to_files_in_a_save(folder: Path) -> None:
    """The newest checkpoint is always whole: the one before or the new one, and the next save leaves nothing else."""
    context = multiprocessing.get_context("fork")
    trained = make_trained(9, 9)
    weights = {8: make_trained(8, 8).objective.state_dict(), 9: trained.objective.state_dict()}

    def save_and_die(copy: Path, victim: int) -> None:
        count = 0

        def hook(event: str, _: Any) -> None:
            nonlocal count
            if event == "open" or event.startswith(("os.", "shutil.")):
                count += 1
                if count == victim:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        save_checkpoint(copy, state_after(9), trained, keep=2)
        os._exit(0)

    found, victim, ends = [], 0, False
    while not ends:
        victim += 1
        copy = shutil.copytree(folder, folder.parent / f"{folder.name}-{victim}")
        process = context.Process(target=save_and_die, args=(copy, victim))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        ends = process.exitcode == 0
        newest = newest_checkpoint(copy)
        assert newest is not None
        other = make_trained(1, 1)
        found.append(load_checkpoint(newest, other, LENGTH).step)
        assert equal(other.objective.state_dict(), weights[found[-1]])
        save_checkpoint(copy, state_after(10), trained, keep=1)
        assert [path.name for path in copy.iterdir()] == ["checkpoint-00000010"]
        shutil.rmtree(copy)
    assert found == sorted(found)  # from the old one to the new one, once
    assert found.count(8) > 10
    assert found.count(9) > 1


def test_resuming_from_a_damaged_folder_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Arguments]
) -> None:
    options = {"output_dir": tmp_path, "checkpoint_every": 2}
    update = run.AveragedModel.update

    def update_or_stop(self: run.AveragedModel, model: Any, at: int) -> None:
        if at == 9:
            raise KeyboardInterrupt
        update(self, model, at)

    with monkeypatch.context() as patch:
        patch.setattr(run.AveragedModel, "update", update_or_stop)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(**options))
    newest = tmp_path / "checkpoint-00000008"
    for name in ("random_states_0.safetensors", "trainer_state.json"):
        content = (newest / name).read_bytes()
        (newest / name).unlink()
        with pytest.raises(InputError, match=rf"checkpoint-00000008 cannot be loaded \({name} is missing\)"):
            train(tiny(**options, resume=True))
        (newest / name).write_bytes(content)
    best = (tmp_path / "best.safetensors").read_bytes()
    (tmp_path / "best.safetensors").write_bytes(flip(best, -1))
    monkeypatch.setattr(run, "multilabel_metrics", lambda *_, **__: {"mAP": 0.0})  # the first epoch stays the best
    with pytest.raises(InputError, match=r"best\.safetensors is damaged.* start again with --overwrite_output_dir"):
        train(tiny(**options, resume=True))
    assert not (tmp_path / "metrics.json").exists()
