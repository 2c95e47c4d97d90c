"""Text and prototypes of labels that a checkpoint is given at run time, made as those of its own labels were."""

from typing import Any

from torch import Tensor

from sct_hf.backbone_classifier import load_backbone_classifier
from sct_hf.errors import InputError
from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.prototypes import encode_classes, make_label_prototypes
from sct_hf.label_text.vectors import LabelText
from sct_hf.model.configuration_sct import SCTConfig
from sct_hf.model.new_labels_sct import alike

_SOURCES = ("package", "pretrained")


def embed_like(names: list[str], encoder: str, recipe: dict[str, Any]) -> LabelText:
    """Embed labels with the template and the seed of a recipe.

    Raises:
        InputError: As `encode_labels`.
    """
    options = {"template": recipe.get("template", "{}"), "seed": recipe.get("seed", 0), "dim": recipe.get("dim")}
    return encode_labels(names, encoder, **options)


def prototypes_like(label_text: LabelText, held: Tensor, encoder: str, config: SCTConfig) -> Tensor:
    """Make prototypes from the classifier that made those of a checkpoint: the one that gives them again.

    Args:
        label_text: Of the checkpoint's own labels, and then of others.
        held: (C, D₀) prototypes of its own labels.
        encoder: What made `label_text`.
        config: Of the checkpoint.

    Returns:
        A prototype (D₀,) for each label of `label_text`, float32.

    Raises:
        InputError: No classifier to be had gives the checkpoint's own prototypes.
    """
    reasons = []
    for source in _SOURCES:
        try:
            classifier = load_backbone_classifier(config.backbone, source)
            class_text = encode_classes(classifier, encoder, template=label_text.recipe["template"])
        except InputError as error:
            reasons.append(str(error))
            continue
        prototypes = make_label_prototypes(label_text, class_text, classifier)
        if alike(prototypes[: len(held)], held):
            return prototypes
        reasons.append(f"the classifier of backbone_weights={source!r} does not give the checkpoint's own prototypes")
    raise InputError(
        f"labels: prototypes cannot be made for new labels; {'; '.join(reasons)}. Make them by "
        "sct_hf.make_label_prototypes from the classifier of training, and change the labels by model.set_labels."
    )
