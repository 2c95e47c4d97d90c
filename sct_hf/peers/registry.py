"""The peer heads by name: each registers itself where it is defined, in this package or elsewhere.

@register_head("toy")
class ToyHead(nn.Module):
    def __init__(self, num_features: int, num_labels: int) -> None: ...
    def forward(self, features: Tensor) -> Tensor: ...  # (B, D₀, H, W) to logits (B, C)
"""

from collections.abc import Callable
from typing import Any, TypeVar

from huggingface_hub.errors import StrictDataclassError
from torch import nn

from sct_hf.peers.label_text_head import LabelTextHead

Head = TypeVar("Head", bound=type[nn.Module])

HEADS: dict[str, type[nn.Module]] = {}
"""Heads by name, as `register_head` fills it."""


def register_head(name: str) -> Callable[[Head], Head]:
    """Register a class as the head that `PeerConfig.head` and `--head` call `name`.

    The class is made from the width D₀ of the backbone's map and the number C of labels, and then from what
    `head_kwargs` name; a `LabelTextHead` from D₀, C and the width D_t of label embeddings. Its `forward` maps features
    (B, D₀, H, W), and in the second case label embeddings (C, D_t), to logits (B, C). A head with several branches
    that each have a loss returns a dict of logits (B, C) by branch; the first of them are the model's, and
    `branch_weights`, a dict, gives the losses of branches another weight than 1. The module that registers a head must
    be imported before its checkpoints are loaded.

    Args:
        name (`str`): Not one that another class has.

    Raises:
        ValueError: Another class is registered by that name.
    """

    def register(head: Head) -> Head:
        other = HEADS.get(name)
        if other is not None and (other.__module__, other.__qualname__) != (head.__module__, head.__qualname__):
            raise ValueError(
                f"head={name!r} is registered twice, as {other.__module__}.{other.__qualname__} and "
                f"{head.__module__}.{head.__qualname__}: choose another name."
            )
        HEADS[name] = head
        return head

    return register


def make_head(
    name: str, num_features: int, num_labels: int, label_embedding_size: int, head_kwargs: dict[str, Any] | None
) -> nn.Module:
    """Make a head.

    Args:
        name (`str`): One of `HEADS`.
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        label_embedding_size (`int`): Width D_t of label embeddings, for a head that reads them.
        head_kwargs (`dict`, *optional*): Further arguments of the head.

    Raises:
        ValueError: Arguments that the head cannot use.
    """
    kind = HEADS[name]
    widths = (num_features, num_labels, label_embedding_size)[: 3 if reads_label_text(name) else 2]
    try:
        return kind(*widths, **({} if head_kwargs is None else head_kwargs))
    except (TypeError, ValueError, AssertionError, RuntimeError, StrictDataclassError) as error:
        raise ValueError(
            f"head_kwargs={head_kwargs!r} does not suit head={name!r}: {error}. See the head's arguments and the "
            "multiples its widths must be."
        ) from error


def reads_label_text(name: str) -> bool:
    """Whether the peer head of that name reads label embeddings; `False` for a name that is not in `HEADS`."""
    return name in HEADS and issubclass(HEADS[name], LabelTextHead)
