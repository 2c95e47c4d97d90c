"""The averaged weights, which are evaluated and saved."""

from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate.utils import broadcast
from safetensors.torch import load_file, save_file
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from sct_hf.training.models import TaggingModel
from sct_hf.training.sharding import is_part, laid_out_as, whole


class _TrainedEma(ModelEmaV3):
    """Average everything except a backbone without trained weights, which never changes."""

    def apply_update_(self, model: TaggingModel, decay: float) -> None:
        backbone, frozen = model.backbone, set[int]()
        if not any(weight.requires_grad for weight in backbone.parameters()):
            frozen = {id(tensor) for tensor in (*backbone.parameters(), *backbone.buffers())}
        now = model.state_dict(keep_vars=True)
        averages = self.module.state_dict()
        names = [name for name, tensor in now.items() if id(tensor) not in frozen]
        floats = [name for name in names if now[name].is_floating_point()]
        for name in set(names) - set(floats):
            averages[name].copy_(now[name])
        sharded = [name for name in floats if is_part(now[name])]
        for name in sharded:  # one by one: whole, all of them would need much memory
            if now[name].requires_grad:
                averages[name].lerp_(whole(now[name]), weight=1 - decay)
        rest = [name for name in floats if name not in sharded]
        if rest:
            torch._foreach_lerp_([averages[name] for name in rest], [now[name] for name in rest], weight=1 - decay)


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


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write the `state_dict` of a model as safetensors, on the CPU and contiguous."""
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read a file of `save_weights` into a model, whose weights may be sharded.

    Raises:
        RuntimeError: An entry is missing, surplus or of another shape.
    """
    state: dict[str, Tensor] = load_file(path)
    sharded = {name: part for name, part in model.state_dict().items() if is_part(part)}
    with torch.no_grad():
        parts = {name: laid_out_as(value, sharded[name]) for name, value in state.items() if name in sharded}
        model.load_state_dict(state | parts, strict=True)
