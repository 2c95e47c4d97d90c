"""The projection from a timm backbone's map into the space of images and texts that it was trained in, as CLIP's."""

from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import AttentionPool2d, AttentionPoolLatent, RotAttentionPool2d
from torch import Tensor, nn

from sct_hf.backbone_classifier import timm_state
from sct_hf.backbone_weights import pooled_name, read_state_dict, whole_model
from sct_hf.errors import InputError
from sct_hf.model.backbone_sct import TimmBackbone
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.weight_layouts import backbone_entries

_POOLS = (AttentionPool2d, RotAttentionPool2d, AttentionPoolLatent)
_VALUES = ("v", "kv", "qkv")
"""Names of the layer that makes a pool's values, which are the last of so many parts."""
_TOLERANCE = 0.01


def load_pair_projection(name: str, source: str, backbone_kwargs: dict[str, Any] | None = None) -> Tensor:
    """Load the linear map from the features of one region to its vector in the joint space of images and texts.

    It is the product of the layers that follow the map in the backbone's own weights: value and output projection of
    an attention pool, which give the vector of a region that attends to itself alone (MaskCLIP; Zhou et al., "Extract
    Free Dense Labels from CLIP", ECCV 2022, arXiv 2112.01071), then the last linear layer. Biases and position codes,
    which shift a score alike in all images, are left out, and so is the MLP after SigLIP's pool. The map itself is
    the one that the model gives:

    - `resnet50_clip_gap` and the like: the last stage; W_c W_v, as in MaskCLIP;
    - `resnet50_clip` and the like: the values of the pool, mixed by its attention in each region; W_c;
    - `vit_*_clip_*` and other models with a linear layer behind the map: normalised tokens; that layer. MaskCLIP
      changes the last attention here too, this does not;
    - `vit_*_siglip_*`: normalised tokens; W_o W_v of the pool.

    Args:
        name: Name of the timm model. For one that left the attention pool out ("_gap"), its twin with the pool has
            the projection.
        source: Where its weights come from, see `load_backbone_weights`: "pretrained", or a file with all weights of
            the image tower.
        backbone_kwargs: The arguments of `timm.create_model` that the backbone is made with.

    Returns:
        (D_j, D₀) float32, for a joint space of width D_j and a map of width D₀.

    Raises:
        InputError: The weights hold no such layers, their widths do not follow on one another, or they cannot be
            loaded.
    """
    if source in ("none", "package"):
        raise _unusable(source, name, "such weights have no projection")
    known = timm.get_pretrained_cfg(name)
    size = list(known.input_size[1:]) if known else BackboneConfig().image_size
    sizes = {key: value for key, value in (backbone_kwargs or {}).items() if key not in ("num_classes", "global_pool")}
    with torch.device("meta"):
        whole = whole_model(name, **sizes)
        backbone = TimmBackbone(BackboneConfig(backbone=name, image_size=size, backbone_kwargs=backbone_kwargs))
    state = _pretrained(name) if source == "pretrained" else backbone_entries(read_state_dict(Path(source)), whole)[0]
    layers = _layers(whole, state, set(backbone.timm_model.state_dict()))
    if not layers:
        raise _unusable(source, name, "the weights hold no projection behind the map")
    widths = [backbone.num_features, *(layer.shape[0] for layer in layers)]
    for layer, width in zip(layers, widths, strict=False):
        if layer.shape[1] != width:
            raise _unusable(source, name, f"a projection reads {layer.shape[1]} features where there are {width}")
    product = layers[0]
    for layer in layers[1:]:
        product = layer @ product
    return product  # (D_j, D₀)


def _layers(whole: nn.Module, state: dict[str, Tensor], in_map: set[str]) -> list[Tensor]:
    """Weights of the linear layers between the map and the joint vector, in their order."""
    names: list[str] = []
    for path, module in whole.named_modules():
        if isinstance(module, _POOLS):
            values = (f"{path}.{kind}.weight" for kind in _VALUES)
            names += [*(each for each in values if each not in in_map), f"{path}.proj.weight"]
    last = getattr(whole, "pretrained_cfg", {}).get("classifier")
    names += [f"{last}.weight"] if isinstance(last, str) else []
    return [_values_only(each, state[each]) for each in dict.fromkeys(names) if each in state]


def _values_only(name: str, weight: Tensor) -> Tensor:
    """The part of a layer's weight that makes values, (out, in) float32; all of it if it makes nothing else."""
    kind = name.split(".")[-2]
    weight = weight.flatten(1).float()  # a 1 × 1 convolution is a linear layer
    return weight.chunk(len(kind))[-1] if kind in _VALUES else weight


def _pretrained(name: str) -> dict[str, Tensor]:
    """Weights by timm of a model with its pool. They must be those of the backbone, up to rounding."""
    other = pooled_name(name)
    state = timm_state(other)
    if other != name:
        own = timm_state(name)
        shared = [(own[key].float(), state[key].float()) for key in own if key in state]
        far = sum((mine - theirs).square().sum() for mine, theirs in shared)
        size = sum(mine.square().sum() for mine, _ in shared)
        if not shared or far > _TOLERANCE**2 * size:
            raise _unusable("pretrained", name, f"its weights are not those of {other!r}, which has the projection")
    return dict(state)


def _unusable(source: str, name: str, reason: str) -> InputError:
    return InputError(
        f"label_prototypes need the ImageNet classifier or the image–text projection of backbone={name!r}, "
        f"backbone_weights={source!r}: {reason}. Give weights with one of them, such as a whole image tower, or set "
        "label_prototypes to false."
    )
