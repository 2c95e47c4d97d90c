"""New models and image processors for training, by name."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import timm
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor

from sct_hf.backbone_weights import load_backbone_weights
from sct_hf.errors import InputError
from sct_hf.label_text.encoders import LabelVectors
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.model.image_processing_sct import SCTImageProcessor
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.peers.backbone_classes import BackboneClassesHead
from sct_hf.peers.modeling_peer import PeerConfig, PeerForMultiLabelClassification
from sct_hf.peers.registry import MODELS, holds_classes, reads_label_text


def build_model(
    backbone: str,
    labels: list[str],
    *,
    image_size: int | list[int] = 448,
    head: str = "sct",
    backbone_weights: str | Path | None = None,
    label_vectors: LabelVectors | None = None,
    label_prototypes: Tensor | None = None,
    class_vectors: Tensor | None = None,
    **config_kwargs: Any,
) -> SCTForMultiLabelClassification | PeerForMultiLabelClassification:
    """Make a new model for a set of labels.

    Args:
        backbone: Name of a timm model.
        labels: The labels' names, in the order of the logits.
        image_size: Input side in pixels, or [height, width].
        head: `"sct"`, or the name of another head such as `"linear"`, see `sct_hf.peers.registry.head_names`.
        backbone_weights: Where the backbone's weights come from, see `load_backbone_weights`; random if not given.
        label_vectors: Text embeddings of the labels. Required if `needs_label_text(head)`; of others, those that hold
            the backbone's classifier keep how it was made.
        label_prototypes: Prototypes (C, D₀) of the labels in the backbone's feature space, see
            `make_label_prototypes`; or with `class_vectors` shares (C, K) of classes, see `make_label_classes`.
            Optional for SCT and its variants; heads that hold the backbone's classifier, such as
            `"linear_prototypes"`, need shares and `class_vectors`. Others do not use them.
        class_vectors: The classes' vectors (K, D₀), centred as `BackboneClassifier.centred`.
        **config_kwargs: Further fields of `SCTConfig` or `PeerConfig`.

    Returns:
        The model in training mode, with its labels, embeddings and the backbone's image normalisation.

    Raises:
        InputError: A field cannot be used; the message has the remedy.
    """
    _check_fields(head, config_kwargs)
    common: dict[str, Any] = {
        "backbone": backbone,
        "image_size": image_size,
        "id2label": dict(enumerate(labels)),
        "label2id": {name: index for index, name in enumerate(labels)},
    } | config_kwargs
    common |= {key: value for key, value in _normalisation(backbone).items() if key not in config_kwargs}
    try:
        text = None
        if needs_label_text(head):
            if label_vectors is None:
                raise InputError("label_vectors is missing: make one with sct_hf.encode_labels(labels, encoder).")
            text = label_vectors.subset(labels)
            common["label_embedding_size"] = text.embeddings.shape[-1]
        model: SCTForMultiLabelClassification | PeerForMultiLabelClassification
        if head in MODELS:
            kind: Any = config_class(head)
            common["class_count"] = 0 if class_vectors is None else len(class_vectors)
            model = MODELS[head](kind(label_prototypes=label_prototypes is not None, **common))
            model.sct.class_vectors = class_vectors
        elif holds_classes(head):
            if label_vectors is not None:
                common["text_recipe"] = label_vectors.subset(labels).recipe
            model = _with_classes(head, common, class_vectors, label_prototypes)
        else:
            model = PeerForMultiLabelClassification(PeerConfig(head=head, **common))
        if text is not None and isinstance(model, SCTForMultiLabelClassification):
            model.set_labels(
                labels, text.embeddings, text.recipe, label_prototypes, config_kwargs.get("label_parents")
            )
        elif text is not None:
            model.set_labels(labels, text.embeddings, text.recipe, config_kwargs.get("label_parents"))
        model.backbone.check_input_size(*model.config.input_size, model.config.num_channels)
    except (ValueError, StrictDataclassError) as error:
        raise InputError(str(error)) from error
    load_backbone_weights(model.backbone.timm_model, backbone, str(backbone_weights or "none"))
    return model.train()


def _with_classes(
    head: str, fields: dict[str, Any], class_vectors: Tensor | None, label_classes: Tensor | None
) -> PeerForMultiLabelClassification:
    """A model whose head holds the backbone's classifier, with these class vectors (K, D₀) and shares (C, K)."""
    if class_vectors is None or label_classes is None:
        raise InputError(
            f"head={head!r} needs class_vectors and label_prototypes: give BackboneClassifier.centred, and shares by "
            "sct_hf.make_label_classes."
        )
    head_kwargs = {"num_classes": len(class_vectors)} | (fields.get("head_kwargs") or {})
    model = PeerForMultiLabelClassification(PeerConfig(head=head, **fields | {"head_kwargs": head_kwargs}))
    assert isinstance(model.head, BackboneClassesHead)
    model.head.set_classes(class_vectors, label_classes)
    return model


def needs_label_text(head: str) -> bool:
    """Whether a model with `head`, one of `head_names()`, reads label text."""
    return head in MODELS or reads_label_text(head)


def config_class(head: str) -> type[BackboneConfig]:
    """The configuration class of a model with `head`, one of `head_names()`."""
    return MODELS[head].config_class if head in MODELS else PeerConfig


def _check_fields(head: str, given: Mapping[str, Any]) -> None:
    """Refuse names that are no field of the head's configuration; it refuses its retired fields itself."""
    kind = config_class(head)
    known = [one.name for one in fields(kind)]
    for name in given:
        if name not in known and name not in kind.retired_fields and name not in kind.renamed_fields:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"see the fields of {kind.__name__}."
            raise InputError(f"{name}={given[name]!r} is no field of {kind.__name__}: {hint}")


def _normalisation(backbone: str) -> dict[str, list[float]]:
    """Mean and standard deviation of timm's weights for the backbone, if timm knows it."""
    known = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
    return {"image_mean": list(known.mean), "image_std": list(known.std)} if known else {}


def image_processor(config: BackboneConfig) -> SCTImageProcessor:
    """Make the image processor of a model's evaluation transform, to save with the model.

    Args:
        config: The model's configuration.

    Returns:
        A processor that resizes to the input size (bilinear, no crop), scales to [0, 1] and normalises.
    """
    height, width = config.input_size
    return SCTImageProcessor(
        size={"height": height, "width": width},
        image_mean=list(config.image_mean),
        image_std=list(config.image_std),
    )
