"""The ImageNet classifier in a timm backbone's weights: its class vectors and class names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import Tensor

from sct_hf.backbone_weights import PACKAGE_CLASSIFIER, read_package, read_state_dict
from sct_hf.errors import InputError
from sct_hf.network import failure_reason


@dataclass(frozen=True, eq=False)
class BackboneClassifier:
    """The last linear layer of a classification model, and the names of its classes.

    Attributes:
        weight: (K, D₀) float32, one vector per class in the backbone's feature space.
        class_names: ImageNet's descriptions of the K classes, such as "tabby, tabby cat".
        synsets: WordNet's numbers of the K classes, such as "n02123045"; empty if not known.
    """

    weight: Tensor
    class_names: list[str]
    synsets: list[str] = field(default_factory=list)

    @property
    def centred(self) -> Tensor:
        """The vectors minus their mean, (K, D₀)."""
        return self.weight - self.weight.mean(0)


def load_backbone_classifier(name: str, source: str) -> BackboneClassifier:
    """Load the classifier that belongs to a backbone's weights.

    Args:
        name: Name of the timm model.
        source: Where its weights come from, see `load_backbone_weights`.

    Raises:
        InputError: The weights have no classifier, its classes are unknown, or it does not read the backbone's map
            directly.
    """
    if source == "none":
        raise _unusable(source, name, "a backbone without weights has no classifier")
    known = timm.get_pretrained_cfg(name)
    config = known.to_dict() if known else {}
    layer = config.get("classifier") or ""
    if source == "pretrained":
        state = timm_state(name)
    elif source == "package":
        state, layer = read_package(name)[0], PACKAGE_CLASSIFIER.removesuffix(".")
    else:
        state = read_state_dict(Path(source))
    weight = state.get(f"{layer}.weight") if isinstance(layer, str) else None
    if weight is None:
        raise _unusable(source, name, "the weights hold no classifier")
    weight = weight.flatten(1).float()  # a 1 × 1 convolution is a linear layer
    named = with_names(weight)
    if named is None:
        raise _unusable(source, name, f"the names of its {len(weight)} classes are not known")
    with torch.device("meta"):
        backbone = timm.create_model(name, num_classes=0)
    num_features = getattr(backbone, "head_hidden_size", backbone.num_features)
    if weight.shape[1] != num_features:
        raise _unusable(source, name, f"its classifier reads {weight.shape[1]} features, the map has {num_features}")
    return named


def with_names(weight: Tensor) -> BackboneClassifier | None:
    """Name the classes of vectors (K, D₀) by their number; None if timm knows no subset of ImageNet with K classes."""
    subset = infer_imagenet_subset({"num_classes": len(weight)})
    if subset is None:
        return None
    info, classes = ImageNetInfo(subset), range(len(weight))
    names, synsets = [*map(info.index_to_description, classes)], [*map(info.index_to_label_name, classes)]
    return BackboneClassifier(weight, names, synsets)


def timm_state(name: str) -> Mapping[str, Tensor]:
    """All weights of timm's own for a model, with those behind the map.

    Raises:
        InputError: They cannot be downloaded.
    """
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:
        raise _unusable(
            "pretrained", name, f"timm's weights cannot be downloaded ({failure_reason(error)})"
        ) from error


def _unusable(source: str, name: str, reason: str) -> InputError:
    return InputError(
        f"label_prototypes need the ImageNet classifier of backbone={name!r}, backbone_weights={source!r}: {reason}. "
        "Use ImageNet weights with their classifier; for weights of an image–text pair give that pair, such as "
        "openai/clip-vit-base-patch16, as label_encoder; or set label_prototypes to false."
    )
