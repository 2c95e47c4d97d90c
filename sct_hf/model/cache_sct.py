"""What depends on weights alone, computed once for many images."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class WeightsOnly:
    """Keeps the last result of a function of weights alone for as long as they stay as they are (ours).

    It is kept only where no gradient is recorded and nothing is compiled or exported. Any other tensor, an in-place
    change that autograd counts, another dtype, device or autocast makes it anew; only a write through `.data` goes
    unseen, until `clear`. A copy of it, or a pickle, is empty.
    """

    def __init__(self) -> None:
        self._kept: tuple[Any, list[Tensor], Tensor] | None = None

    def __call__(self, compute: Callable[[], Tensor], weights: Sequence[Tensor]) -> Tensor:
        """Return what `compute` returns, or returned when `weights` and autocast were the same."""
        if torch.compiler.is_compiling() or torch.is_grad_enabled() or not all(map(_countable, weights)):
            return compute()
        device = weights[0].device.type
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        key = (autocast, [(t.data_ptr(), t._version, t.dtype, t.device, t.shape, t.stride()) for t in weights])
        kept = self._kept  # read once: another thread may replace it meanwhile
        if kept is None or kept[0] != key:
            # Aliases keep the storages, so that no later tensor can come to lie at the same address.
            kept = self._kept = (key, [tensor.detach() for tensor in weights], compute())
        return kept[2]

    def clear(self) -> None:
        """Forget the result."""
        self._kept = None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()


def _countable(tensor: Tensor) -> bool:
    """Whether changes of a tensor show: it lies in memory of its own and has a count of versions."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.device.type != "meta" and tensor.numel() > 0
    return plain and not tensor.is_inference()


__all__ = ["WeightsOnly"]
