"""Prototypes of labels in a backbone's feature space, from the text tower that it was trained with."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sct_hf.backbone_classifier import BackboneClassifier, load_backbone_classifier, with_names
from sct_hf.backbone_pair import load_pair_projection
from sct_hf.errors import InputError
from sct_hf.label_text.prototypes import encode_classes
from sct_hf.label_text.vectors import LabelVectors

_LENGTH = 2.0
_CLASSES = 1000


def classifier_or_pair(
    backbone: str, source: str, label_vectors: LabelVectors, backbone_kwargs: dict[str, Any] | None = None
) -> BackboneClassifier | Tensor:
    """Load what label prototypes come from: the ImageNet classifier of a backbone's weights, else their projection.

    A projection is looked for only if the labels' text comes from a model of text and images.

    Args:
        backbone: Name of the timm model.
        source: Where its weights come from, see `load_backbone_weights`.
        label_vectors: Vectors of the labels.
        backbone_kwargs: The arguments of `timm.create_model` that the backbone is made with.

    Returns:
        The classifier, or the projection (D_t, D₀) float32 of `load_pair_projection`.

    Raises:
        InputError: The weights hold neither, or text and projection have different widths.
    """
    try:
        return load_backbone_classifier(backbone, source)
    except InputError:
        if label_vectors.recipe.get("pooling") != "projection":
            raise
    projection = load_pair_projection(backbone, source, backbone_kwargs)
    encoder, width = label_vectors.recipe["encoder"], label_vectors.embeddings.shape[1]
    if width != len(projection):
        raise InputError(
            f"label_encoder={encoder!r} gives vectors of width {width}, but backbone={backbone!r} projects images to "
            f"width {len(projection)}. Give the text tower that was trained with backbone_weights={source!r}, or set "
            "label_prototypes to false."
        )
    return projection


def make_pair_prototypes(label_vectors: LabelVectors, class_text: LabelVectors, projection: Tensor) -> Tensor:
    """Take text vectors of labels back into the space of the backbone's map.

    V = 2·(t − m)·A / l, where t are text vectors of length 1, m is the mean text vector of the classes, A the
    projection, and l the mean length of (t − m)·A over the classes. So a region x scores (t − m)·A x, up to a factor
    that all labels share: how much better its vector in the joint space fits the label than things in general. The
    projection of text back to regions is MaskCLIP's (see `load_pair_projection`). The mean, and the length, near that
    of ImageNet class vectors (2.3 for `tf_efficientnet_lite0`, 2.0 for `tf_efficientnet_lite2`), are this project's
    choices, not measured on images.

    Args:
        label_vectors: Vectors (C, D_t) of the labels, of the pair's text tower.
        class_text: Vectors (K, D_t) of the names of things in general by the same tower, see `encode_classes`.
        projection: (D_t, D₀), see `load_pair_projection`.

    Returns:
        (C, D₀) float32.
    """
    mine, others = (F.normalize(each.embeddings, dim=-1) for each in (label_vectors, class_text))  # (C, D_t), (K, D_t)
    mean = others.mean(0)  # (D_t,)
    length = ((others - mean) @ projection).norm(dim=1).mean()
    return _LENGTH * (mine - mean) @ projection / length


def prototypes_of_pair(
    label_vectors: LabelVectors, projection: Tensor, encoder: str, *, template: str = "{}"
) -> Tensor:
    """`make_pair_prototypes` with the names of ImageNet's 1,000 classes as things in general: (C, D₀) float32.

    Raises:
        InputError: The encoder cannot embed them.
    """
    named = with_names(torch.empty(_CLASSES, 0))
    assert named is not None
    return make_pair_prototypes(label_vectors, encode_classes(named, encoder, template=template), projection)
