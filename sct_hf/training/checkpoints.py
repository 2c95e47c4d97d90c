"""Checkpoints from which training goes on exactly as if it had never stopped."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError

from sct_hf.errors import InputError
from sct_hf.training.ema import load_weights, save_weights
from sct_hf.training.models import TaggingModel

_PREFIX = "checkpoint-"
_AVERAGE = "ema.safetensors"
_STATE = "trainer_state.json"


@dataclass
class TrainerState:
    """Where training stands, besides weights, optimizer and random generators.

    Attributes:
        step: Optimizer steps done.
        epoch: Epoch in progress, from 0.
        batch: Batches of it that are done.
        images: Images of it that are done, over all processes.
        loss_sums: Sum over these images of the loss and of each of its parts.
        seconds: Time spent training in this epoch.
        waited: Time of it spent waiting for images.
        total_seconds: Time spent training in all.
        best_epoch: Epoch whose weights are selected so far, from 1; 0 for none yet.
        best_mAP: Its mAP on the held-out part.
        history: One row for each finished epoch.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    images: int = 0
    loss_sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    waited: float = 0.0
    total_seconds: float = 0.0
    best_epoch: int = 0
    best_mAP: float = -1.0  # noqa: N815
    history: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def room_to_save(folder: Path) -> Iterator[None]:
    """Turn the errors of a full disk into one that says what is left whole.

    Raises:
        InputError: Something could not be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if type(error) is RuntimeError and "inline_container" not in str(error) and "PytorchStream" not in str(error):
            raise  # not torch's way to say that it cannot write
        newest = newest_checkpoint(folder)
        left = f"{newest.name} is whole: go on from it with --resume" if newest else "there is no checkpoint yet"
        raise InputError(
            f"output_dir is {str(folder)!r}, but saving there failed ({_reason(error)}): free some space; {left}"
        ) from error


def save_checkpoint(
    folder: Path, state: TrainerState, accelerator: Accelerator, average: TaggingModel, *, keep: int
) -> None:
    """Write `checkpoint-<step>` beside the others, whole or not at all, and remove the oldest.

    To be called by every process, after an optimizer step: a checkpoint within an accumulation window would lose
    the gradients gathered so far.

    Args:
        folder: Of the run.
        state: Where training stands.
        accelerator: With model, optimizer and schedule.
        average: The model with the averaged weights.
        keep: Number of checkpoints to keep.

    Raises:
        InputError: It cannot be written, as on a full disk; the checkpoints before it are whole.
    """
    target = folder / f"{_PREFIX}{state.step:08d}"
    temporary = folder / f".{target.name}"
    with room_to_save(folder):
        try:
            if accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir()
            accelerator.wait_for_everyone()
            accelerator.save_state(str(temporary))
            if accelerator.is_main_process:
                save_weights(average, temporary / _AVERAGE)
                content = {**asdict(state), "num_processes": accelerator.num_processes}
                (temporary / _STATE).write_text(json.dumps(content), encoding="utf-8")
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                shutil.rmtree(target, ignore_errors=True)
                os.replace(temporary, target)
        finally:
            if accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
    if accelerator.is_main_process:
        for path in _checkpoints(folder)[:-keep]:
            shutil.rmtree(path)
    accelerator.wait_for_everyone()


def load_checkpoint(path: Path, accelerator: Accelerator, average: TaggingModel) -> TrainerState:
    """Put model, optimizer, schedule, random generators and averaged weights back as they were.

    Args:
        path: A folder that `save_checkpoint` wrote.
        accelerator: With model, optimizer and schedule prepared and registered as when it was written.
        average: The model of the averaged weights; filled in place.

    Raises:
        InputError: It was written by another number of processes, or does not fit.
    """
    try:
        content = json.loads((path / _STATE).read_text(encoding="utf-8"))
        processes = content.pop("num_processes")
        if processes == accelerator.num_processes:
            accelerator.load_state(str(path))
            load_weights(average, path / _AVERAGE)
            return TrainerState(**content)
    except (OSError, RuntimeError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"checkpoint {path} cannot be loaded ({_reason(error)}): remove it to go on from the one before, or "
            "start anew with --overwrite_output_dir"
        ) from error
    raise InputError(
        f"checkpoint {path} was written by {processes} processes, and this run has {accelerator.num_processes}: "
        f"start it with {processes}"
    )


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the whole checkpoint with the most steps, or None."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def remove_checkpoints(folder: Path) -> None:
    """Remove every checkpoint of `folder`, half-written ones as well."""
    for path in [*_checkpoints(folder), *folder.glob(f".{_PREFIX}*")]:
        shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdigit())


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
