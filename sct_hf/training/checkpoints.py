"""Checkpoints that continue training exactly as if it had never stopped.

A checkpoint is a folder of safetensors and JSON files with a manifest of their digests, which is written last. It has
no pickle, so that resuming runs no code from it.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError
from torch import nn

from sct_hf.errors import InputError
from sct_hf.files import PARTIAL, sync
from sct_hf.training.ema import load_weights, save_weights
from sct_hf.training.manifest import MANIFEST, seal, verify
from sct_hf.training.plain_state import load_plain, save_plain
from sct_hf.training.random_states import random_states, set_random_states
from sct_hf.training.sharding import laid_out_as, whole_state
from sct_hf.training.trainer_state import RunLength, TrainerState

_PREFIX = "checkpoint-"
_OBJECTIVE = "objective.safetensors"
_AVERAGE = "ema.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_STATE = "trainer_state.json"


@dataclass(frozen=True)
class Trained:
    """The content of a checkpoint besides the trainer's state.

    Attributes:
        accelerator: The accelerator of this process; its loss scaler, if any, is saved too.
        objective: The model and the parts of its loss, prepared.
        optimizer: The optimizer, prepared.
        schedule: The schedule of its learning rates.
        average: The model with the averaged weights.
    """

    accelerator: Accelerator
    objective: nn.Module
    optimizer: Any
    schedule: Any
    average: nn.Module


@contextmanager
def room_to_save(folder: Path) -> Iterator[None]:
    """Turn errors of a full disk into one that names the last whole checkpoint.

    Raises:
        InputError: A file could not be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        newest = newest_checkpoint(folder)
        left = f"{newest.name} is whole: continue from it with --resume" if newest else "there is no checkpoint yet"
        raise InputError(
            f"output_dir is {str(folder)!r}, but saving there failed ({_reason(error)}): free some space; {left}"
        ) from error


def save_checkpoint(folder: Path, state: TrainerState, trained: Trained, *, keep: int) -> None:
    """Write `checkpoint-<step>`, whole or not at all; remove the oldest and incomplete ones.

    Every process calls this, after an optimizer step: a checkpoint inside an accumulation window would lose its
    gradients.

    Args:
        folder: Folder of the run.
        state: The progress of training.
        trained: The trained objects.
        keep: Number of checkpoints to keep.

    Raises:
        InputError: The checkpoint cannot be written, as on a full disk. Earlier checkpoints stay whole.
    """
    accelerator = trained.accelerator
    target = folder / f"{_PREFIX}{state.step:08d}"
    temporary = folder / f"{PARTIAL}{target.name}"
    with room_to_save(folder):
        try:
            if accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir()
            accelerator.wait_for_everyone()
            main = accelerator.is_main_process
            weights = whole_state(accelerator.unwrap_model(trained.objective).state_dict(), keep=main)
            moving = whole_state(_moving(trained), keep=main)
            save_plain(random_states(accelerator.device), temporary / _random(accelerator.process_index))
            if accelerator.is_main_process:
                save_weights(weights, temporary / _OBJECTIVE)
                save_weights(trained.average.state_dict(), temporary / _AVERAGE)
                save_plain(moving, temporary / _OPTIMIZER)
                content = {**asdict(state), "num_processes": accelerator.num_processes}
                (temporary / _STATE).write_text(json.dumps(content), encoding="utf-8")
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                seal(temporary)
                shutil.rmtree(target, ignore_errors=True)
                os.replace(temporary, target)
                sync(folder)
        finally:
            if accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
    if accelerator.is_main_process:
        for path in _checkpoints(folder)[:-keep]:
            _remove(path)
        for path in folder.glob(f"{PARTIAL}{_PREFIX}*"):  # of saves that were killed
            shutil.rmtree(path)
    accelerator.wait_for_everyone()


def load_checkpoint(path: Path, trained: Trained, length: RunLength) -> TrainerState:
    """Restore model, optimizer, schedule, random generators and averaged weights.

    Before anything is restored, every file is compared with the manifest, and the trainer's state with the run.

    Args:
        path: A folder of `save_checkpoint`.
        trained: The objects of this run, filled in place.
        length: The length of this run.

    Raises:
        InputError: A file is missing or damaged, the checkpoint comes from another number of processes or an earlier
            version of this package, or it does not fit the run.
    """
    accelerator = trained.accelerator
    if not (path / MANIFEST).exists() and any(path.glob("random_states_*.pkl")):
        raise InputError(
            f"checkpoint {path} was written by an earlier version of this package, as pickles, which could run any "
            "code: finish the run with that version, or start again with --overwrite_output_dir"
        )
    with _reading(path):
        verify(path, [_STATE])
    with _reading(path, _STATE) as file:
        content = json.loads(file.read_text(encoding="utf-8"))
        processes = int(content.pop("num_processes"))
    if processes != accelerator.num_processes:
        raise InputError(
            f"checkpoint {path} was written by {processes} processes, and this run has {accelerator.num_processes}: "
            f"start it with {processes}"
        )
    own = _random(accelerator.process_index)
    with _reading(path):
        verify(path, [_OBJECTIVE, _AVERAGE, _OPTIMIZER, *map(_random, range(processes))])
    with _reading(path, _STATE):
        state = TrainerState.from_content(content, length)
    with _reading(path, _OBJECTIVE) as file:
        load_weights(accelerator.unwrap_model(trained.objective), file)
    with _reading(path, _AVERAGE) as file:
        load_weights(trained.average, file)
    with _reading(path, _OPTIMIZER) as file:
        _set_moving(trained, load_plain(file))
    with _reading(path, own) as file:
        set_random_states(load_plain(file), accelerator.device)
    return state


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the whole checkpoint with the most steps, or None."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def remove_checkpoints(folder: Path) -> None:
    """Remove every checkpoint of `folder`."""
    for path in _checkpoints(folder):
        _remove(path)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdigit())


def _remove(path: Path) -> None:
    """Remove a checkpoint. If this is interrupted, the rest has the name of an incomplete one."""
    hidden = path.with_name(f"{PARTIAL}{path.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    shutil.rmtree(path.rename(hidden))


def _random(process: int) -> str:
    return f"random_states_{process}.safetensors"


def _moving(trained: Trained) -> dict[str, Any]:
    """The states of the optimizer, the schedule and the loss scaler."""
    scaler = trained.accelerator.scaler
    return {
        "optimizer": trained.optimizer.state_dict(),
        "schedule": trained.schedule.state_dict(),
        "scaler": scaler.state_dict() if scaler else None,
    }


def _set_moving(trained: Trained, states: dict[str, Any]) -> None:
    weights = [weight for group in trained.optimizer.param_groups for weight in group["params"]]
    for place, moments in states["optimizer"]["state"].items():
        for name, value in moments.items():
            if name != "step":  # a number, also of sharded weights
                moments[name] = laid_out_as(value, weights[place])
    trained.optimizer.load_state_dict(states["optimizer"])
    trained.schedule.load_state_dict(states["schedule"])
    if scaler := trained.accelerator.scaler:
        scaler.load_state_dict(states["scaler"])


@contextmanager
def _reading(checkpoint: Path, name: str = "") -> Iterator[Path]:
    """Yield the path of a file; turn errors of reading it into one with its name and the remedy."""
    try:
        yield checkpoint / name
    except (OSError, RuntimeError, SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        before = [path.name for path in _checkpoints(checkpoint.parent) if path.name < checkpoint.name]
        remedy = f"remove {checkpoint.name} to continue from {before[-1]}, or " if before else ""
        what = f"{name}: {_reason(error)}" if name else _reason(error)
        raise InputError(
            f"checkpoint {checkpoint} cannot be loaded ({what}): {remedy}start again with --overwrite_output_dir"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
