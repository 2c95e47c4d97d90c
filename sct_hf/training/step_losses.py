"""The losses of training steps, read now and then, so that no step waits for the device."""

import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

IMAGES = "images"
"""Name of the number of images among the sums."""


class NotFiniteError(Exception):
    """A loss or a gradient is not finite.

    Args:
        what: "loss" or "gradient".
        step: Its optimizer step, from 1.
        losses: The losses by name.
    """

    def __init__(self, what: str, step: int, losses: dict[str, float]) -> None:
        super().__init__(what, step, losses)
        self.what, self.step, self.losses = what, step, losses


@dataclass(frozen=True)
class _Batch:
    step: int
    images: int
    losses: dict[str, Tensor]
    gradient_norm: Tensor | None


class StepLosses:
    """Losses of one process, which stay on the device until `read`.

    Attributes:
        sums (`Counter`): Sum over the images of all read batches, by name of the loss; and their number, `IMAGES`.
    """

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self._unread: list[_Batch] = []

    def add(self, step: int, images: int, losses: dict[str, Tensor], gradient_norm: Tensor | None) -> None:
        """Record the losses of a batch, and the gradient's norm if the batch ends an optimizer step.

        Args:
            step: The batch's optimizer step, from 1.
            images: Number of images, the weight of its losses.
            losses: Scalars by name.
            gradient_norm: Scalar; leave it out if a gradient may be infinite, as with a loss scaler.
        """
        kept = {name: value.detach() for name, value in losses.items()}
        self._unread.append(_Batch(step, images, kept, None if gradient_norm is None else gradient_norm.detach()))

    def read(self) -> dict[str, float]:
        """Add the batches recorded since the last call to the sums, in one transfer; return the last one's losses.

        Raises:
            NotFiniteError: A loss or a gradient is not finite; the error describes the first one.
        """
        batches, self._unread = self._unread, []
        losses: dict[str, float] = {}
        if not batches:
            return losses
        zero = next(iter(batches[0].losses.values())).new_zeros(())
        norms = [zero if batch.gradient_norm is None else batch.gradient_norm for batch in batches]
        scalars = [
            value for batch, norm in zip(batches, norms, strict=True) for value in (norm, *batch.losses.values())
        ]
        numbers = iter(torch.stack([value.float() for value in scalars]).tolist())
        for batch in batches:
            norm = next(numbers)
            losses = {name: next(numbers) for name in batch.losses}
            if not all(map(math.isfinite, losses.values())):
                raise NotFiniteError("loss", batch.step, losses)
            if not math.isfinite(norm):
                raise NotFiniteError("gradient", batch.step, losses)
            self.sums.update({name: value * batch.images for name, value in losses.items()} | {IMAGES: batch.images})
        return losses
