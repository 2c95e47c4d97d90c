"""The progress of training, and checks that it fits a given run."""

import math
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class RunLength:
    """The length of a run.

    Attributes:
        epochs: Epochs.
        batches: Batches per epoch, for each process.
        accumulation: Batches per optimizer step; the last step of an epoch may have fewer.
        batch_size: Images per batch, over all processes.
    """

    epochs: int
    batches: int
    accumulation: int
    batch_size: int

    @property
    def steps_an_epoch(self) -> int:
        """Optimizer steps per epoch."""
        return math.ceil(self.batches / self.accumulation)


@dataclass
class TrainerState:
    """The progress of training, besides weights, optimizer and random generators.

    Attributes:
        step: Optimizer steps done.
        epoch: Epoch in progress, from 0.
        batch: Batches of it done.
        images: Images of it done, over all processes.
        loss_sums: Sum over these images of the loss and each of its parts.
        seconds: Training time in this epoch.
        waited: Part of it spent waiting for images.
        total_seconds: Training time of all epochs.
        best_epoch: Epoch with the best weights so far, from 1; 0 for none yet.
        best_mAP: Its mAP on the held-out part.
        best_sha256: SHA-256 digest of the file of its weights.
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
    best_sha256: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_content(cls, content: dict[str, Any], length: RunLength) -> "TrainerState":
        """Make the state from JSON values of its fields.

        Raises:
            ValueError: A value is missing, has another type or is outside the run's range; the message names it.
        """
        known = {one.name for one in fields(cls)}
        if wrong := sorted(known ^ content.keys()):
            raise ValueError(f"{wrong[0]} is {'missing' if wrong[0] in known else 'unknown'}")
        state, default = cls(**content), cls()
        for name in known:
            value, kind = getattr(state, name), type(getattr(default, name))
            if type(value) is not kind:
                raise ValueError(f"{name} is {value!r}, no {kind.__name__}")
        state._check(length)
        return state

    def _check(self, length: RunLength) -> None:
        def require(name: str, holds: bool, must_be: str) -> None:
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)!r}, but must be {must_be}")

        require("epoch", 0 <= self.epoch <= length.epochs, f"from 0 to {length.epochs}")
        last = length.batches if self.epoch < length.epochs else 1
        require("batch", 0 <= self.batch < last, f"from 0 to {last - 1} in epoch {self.epoch}")
        require("batch", self.batch % length.accumulation == 0, f"a multiple of {length.accumulation}")
        step = self.epoch * length.steps_an_epoch + self.batch // length.accumulation
        require("step", self.step == step, f"{step} after {self.epoch} epochs and {self.batch} batches")
        most = self.batch * length.batch_size
        require("images", self.batch <= self.images <= most, f"from {self.batch} to {most}")
        for name in ("seconds", "waited", "total_seconds"):
            value = getattr(self, name)
            require(name, math.isfinite(value) and value >= 0, "a finite number >= 0")
        sums = self.loss_sums.values()
        whole = all(isinstance(value, float) and math.isfinite(value) for value in sums)
        require("loss_sums", whole and ("loss" in self.loss_sums) == (self.batch > 0), "finite sums of the losses")
        require("best_epoch", 0 <= self.best_epoch <= self.epoch, f"from 0 to {self.epoch}")
        require("best_mAP", -1 <= self.best_mAP <= 1, "from -1 to 1")
        rows = [row.get("epoch") if isinstance(row, dict) else None for row in self.history]
        if rows != list(range(1, self.epoch + 1)):
            raise ValueError(f"history has the epochs {rows}, but must have those from 1 to {self.epoch}")
