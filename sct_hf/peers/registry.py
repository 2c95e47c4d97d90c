"""The heads of `--head`: SCT, its variants, and peer heads. Each registers itself, in this package or another.

@register_head("toy")
class ToyHead(nn.Module):
    def __init__(self, num_features: int, num_labels: int) -> None: ...
    def forward(self, features: Tensor) -> Tensor: ...  # (B, D₀, H, W) to logits (B, C)
"""

from collections.abc import Callable
from typing import Any, TypeVar

from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification

from sct_hf.model.image_processing_sct import SCTImageProcessor, SCTImageProcessorPil
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.peers.backbone_classes import BackboneClassesHead
from sct_hf.peers.label_text_head import LabelTextHead

Head = TypeVar("Head", bound=type[nn.Module])

HEADS: dict[str, type[nn.Module]] = {}
"""Peer heads by name; `register_head` adds to it."""
MODELS: dict[str, type[SCTForMultiLabelClassification]] = {}
"""SCT and its variants by name; `register_head` adds to it."""


def register_head(name: str) -> Callable[[Head], Head]:
    """Register a class as the head that `PeerConfig.head` and `--head` call `name`.

    A subclass of `SCTForMultiLabelClassification` is a variant of SCT, with its own configuration class and model
    type, which are registered with transformers' Auto classes. Any other class is a peer head. It is made from the
    width D₀ of the backbone's map, the number C of labels and the arguments in `head_kwargs`; a `LabelTextHead` also
    from the width D_t of label embeddings. Its `forward` maps features (B, D₀, H, W), and for a `LabelTextHead` label
    embeddings (C, D_t), to logits (B, C). A head with several branches returns a dict of logits (B, C) by branch. The
    first branch scores images; each branch has a loss, and the dict `branch_weights` sets weights other than 1.
    Import the module that registers a head before loading its checkpoints.

    Args:
        name (`str`): A name that no other class has.

    Raises:
        ValueError: Another class has this name.
    """

    def register(head: Head) -> Head:
        require_free_name("head", name, head, HEADS.get(name) or MODELS.get(name))
        if issubclass(head, SCTForMultiLabelClassification):
            MODELS[name] = head
            register_auto_classes(head)
        else:
            HEADS[name] = head
        return head

    return register


def require_free_name(what: str, name: str, found: type, other: type | None) -> None:
    """Refuse a name that another class has. The same class may register again, as on a second import.

    Raises:
        ValueError: `other` is another class.
    """
    if other is not None and (other.__module__, other.__qualname__) != (found.__module__, found.__qualname__):
        raise ValueError(
            f"{what}={name!r} is registered twice, as {other.__module__}.{other.__qualname__} and "
            f"{found.__module__}.{found.__qualname__}: choose another name."
        )


def head_names() -> tuple[str, ...]:
    """Names of all heads that training offers, SCT first: those with `trainable = False` are left out."""
    return (*MODELS, *(name for name, head in HEADS.items() if getattr(head, "trainable", True)))


def register_auto_classes(model: Any) -> None:
    """Let transformers' Auto classes load a model class, its base model if it has one, and its image processor."""
    config = model.config_class
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModelForImageClassification.register(config, model, exist_ok=True)
    if hasattr(model, "base_model_class"):
        AutoModel.register(config, model.base_model_class, exist_ok=True)
    processors: dict[str, type] = {"torchvision": SCTImageProcessor, "pil": SCTImageProcessorPil}
    AutoImageProcessor.register(config, image_processor_classes=processors, exist_ok=True)


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
        ValueError: The head cannot use an argument.
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
    """Whether the peer head `name` reads label embeddings; `False` for a name that is not in `HEADS`."""
    return name in HEADS and issubclass(HEADS[name], LabelTextHead)


def holds_classes(name: str) -> bool:
    """Whether the peer head `name` holds the backbone's own classifier; `False` for a name that is not in `HEADS`."""
    return name in HEADS and issubclass(HEADS[name], BackboneClassesHead)


register_head("sct")(SCTForMultiLabelClassification)
