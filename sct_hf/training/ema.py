"""The averaged weights, which are evaluated and saved."""

from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from safetensors.torch import load_file, save_file
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from sct_hf.training.models import TaggingModel


class _TrainedEma(ModelEmaV3):
    """Average everything except a backbone without trained weights, which never changes."""

    def apply_update_(self, model: TaggingModel, decay: float) -> None:
        if any(weight.requires_grad for weight in model.backbone.parameters()):
            super().apply_update_(model, decay)
            return
        frozen = {id(tensor) for tensor in (*model.backbone.parameters(), *model.backbone.buffers())}
        now = model.state_dict(keep_vars=True)
        averages = self.module.state_dict()
        names = [name for name, tensor in now.items() if id(tensor) not in frozen]
        floats = [name for name in names if now[name].is_floating_point()]
        torch._foreach_lerp_([averages[name] for name in floats], [now[name] for name in floats], weight=1 - decay)
        for name in set(names) - set(floats):
            averages[name].copy_(now[name])


class AveragedModel:
    """Exponential moving average of all weights and buffers of a model, with timm's `ModelEmaV3`.

    Args:
        model: The model, not wrapped for several processes.
        decay: Share of the average that a step keeps; at 0 the average is the model itself.
        warmup: Raise the decay from 0, as 1 − (1 + step)^(−2/3), until it reaches `decay`.
    """

    def __init__(self, model: TaggingModel, decay: float, warmup: bool) -> None:
        self._average = _TrainedEma(model, decay=decay, use_warmup=warmup)

    @property
    def model(self) -> TaggingModel:
        """The model with the averaged weights, in evaluation mode."""
        return self._average.module

    def update(self, model: TaggingModel, step: int) -> None:
        """Update the average with `model` after optimizer step `step`, counted from 1."""
        self._average.update(model, step=step)

    def synchronise(self) -> None:
        """Copy the first process's floating-point buffers to all processes.

        Weights are equal already, but batch-norm statistics come from each process's own images.
        """
        buffers = [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]
        for buffer, first in zip(buffers, broadcast([buffer.clone() for buffer in buffers]), strict=True):
            buffer.copy_(first)


def save_weights(model: nn.Module, path: Path, **metadata: Any) -> None:
    """Write all weights and buffers of `model` as safetensors, on the CPU and contiguous."""
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    save_file(state, path, metadata={key: str(value) for key, value in metadata.items()})


def load_weights(model: nn.Module, path: Path) -> None:
    """Read a file of `save_weights`.

    Raises:
        RuntimeError: An entry is missing, surplus or of another shape.
    """
    state: dict[str, Tensor] = load_file(path)
    with torch.no_grad():
        model.load_state_dict(state, strict=True)
