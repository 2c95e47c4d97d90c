"""Text vectors and prototypes of labels added to a checkpoint at run time, made like those of its own labels."""

from typing import Any

import torch
from torch import Tensor

from sct_hf.backbone_classifier import BackboneClassifier, with_names
from sct_hf.errors import InputError
from sct_hf.label_text.class_words import encode_class_words
from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.pair_prototypes import classifier_or_pair, prototypes_of_pair
from sct_hf.label_text.prototypes import encode_classes, make_label_classes, make_label_prototypes
from sct_hf.label_text.vectors import LabelVectors
from sct_hf.model.configuration_sct import SCTConfig
from sct_hf.model.vocabulary_sct import LabelEncoders, alike, register_label_encoders

_SOURCES = ("package", "pretrained")


def embed_like(names: list[str], encoder: str, recipe: dict[str, Any], *, as_written: bool) -> Tensor:
    """Embed labels with the template and the seed of a recipe, or texts unchanged: (C, D_t).

    Raises:
        InputError: As for `encode_labels`.
    """
    template = "{}" if as_written else recipe.get("template", "{}")
    options: dict[str, Any] = {"seed": recipe.get("seed", 0), "dim": recipe.get("dim"), "as_written": as_written}
    return encode_labels(names, encoder, template=template, **options).embeddings


def prototypes_like(
    embeddings: Tensor, held: Tensor, encoder: str, config: SCTConfig, backbone_weights: str | None = None
) -> Tensor:
    """Make prototypes from the weights of training: those that reproduce the checkpoint's own prototypes.

    Args:
        embeddings: Embeddings (C, D_t) of the checkpoint's own labels, then of the new ones.
        held: Prototypes of its own labels, width D₀, or shares of K classes.
        encoder: The encoder of the embeddings.
        config: The checkpoint's configuration.
        backbone_weights: Where the classifier, or the image–text pair's projection, is, see `load_backbone_weights`.
            If not given, "package" and "pretrained" weights of the backbone are tried.

    Returns:
        (C, D₀) or (C, K) float32, as `held`.

    Raises:
        InputError: No weights reproduce the checkpoint's own prototypes.
    """
    recipe = {"template": "{}"} | (config.text_recipe or {})
    places = [str(place) for place in range(len(embeddings))]
    recipe |= {"encoder": encoder, "words": places, "dim": embeddings.shape[1]}
    label_vectors = LabelVectors(places, embeddings, recipe)
    reasons = []
    for source in _SOURCES if backbone_weights is None else (backbone_weights,):
        try:
            prototypes = _made_from(source, label_vectors, encoder, config)
        except InputError as error:
            reasons.append(str(error).rstrip("."))
            continue
        if alike(prototypes[: len(held)], held):
            return prototypes
        reasons.append(f"backbone_weights={source!r} does not reproduce the checkpoint's own prototypes")
    raise InputError(
        f"labels: prototypes cannot be made for new labels; {'; '.join(reasons)}. Make them by encode_new_labels(…, "
        "backbone_weights=…) with the weights that training began with, and change the labels by model.set_labels."
    )


def _made_from(source: str, label_vectors: LabelVectors, encoder: str, config: SCTConfig) -> Tensor:
    """Prototypes by the weights of one source; a checkpoint that holds class vectors needs their names alone."""
    template = label_vectors.recipe["template"]
    own = with_names(torch.empty(config.class_count, 0)) if config.class_count else None
    found = own or classifier_or_pair(config.backbone, source, label_vectors, config.backbone_kwargs)
    if not isinstance(found, BackboneClassifier):
        return prototypes_of_pair(label_vectors, found, encoder, template=template)
    class_text = encode_classes(found, encoder, template=template)
    class_words = encode_class_words(found, encoder, template=template) if config.class_count else None
    if class_words is None:
        return make_label_prototypes(label_vectors, class_text, found)
    return make_label_classes(label_vectors, class_text, class_words)


register_label_encoders(LabelEncoders(embed_like, prototypes_like))
