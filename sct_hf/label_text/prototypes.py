"""Prototypes of labels in a backbone's feature space, from label text and the backbone's own classifier."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sct_hf.backbone_classifier import BackboneClassifier
from sct_hf.errors import InputError
from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.vectors import LabelVectors

_TEMPERATURE = 0.07
_LONGEST = 80


def make_label_prototypes(
    label_vectors: LabelVectors, class_text: LabelVectors, classifier: BackboneClassifier
) -> Tensor:
    """Average the classifier's vectors, weighted by the similarity of label text and class text.

    V = softmax(s / 0.07)·(W − mean of W), where s are cosines between label and class embeddings, both minus the mean
    class embedding. ConSE (Norouzi et al., ICLR 2014, arXiv 1312.5650) takes such convex combinations in the text
    space. Combining classifiers, and the temperature, are this project's.

    Args:
        label_vectors: Vectors of the C labels.
        class_text: Vectors of the K classes by the same encoder, see `encode_classes`.
        classifier: The classifier of the K classes.

    Returns:
        (C, D₀) float32.
    """
    centre = class_text.embeddings.mean(0)
    labels = F.normalize(label_vectors.embeddings - centre, dim=-1)  # (C, D_t)
    classes = F.normalize(class_text.embeddings - centre, dim=-1)  # (K, D_t)
    shares = (labels @ classes.T / _TEMPERATURE).softmax(dim=1)  # (C, K)
    return shares @ (classifier.weight - classifier.weight.mean(0))  # (C, D₀)


def encode_classes(classifier: BackboneClassifier, encoder: str, *, template: str = "{}") -> LabelVectors:
    """Embed the names of a classifier's classes as `encode_labels` embeds labels. Classes may share a name.

    Raises:
        InputError: The encoder cannot embed them, or its vectors are random.
    """
    words = [
        ", ".join(dict.fromkeys(part.strip() for part in name.split(",")))[:_LONGEST]
        for name in classifier.class_names
    ]
    distinct = encode_labels(list(dict.fromkeys(words)), encoder, template=template)
    if distinct.recipe["encoder"] == "random":
        raise InputError(
            f"label_prototypes need vectors by which a label is like a class, label_encoder={encoder!r} has none "
            "such. Use a text encoder, or set label_prototypes to false."
        )
    rows = {name: row for row, name in enumerate(distinct.names)}
    order = torch.tensor([rows[name] for name in words])
    names = [f"{index} {name}" for index, name in enumerate(words)]
    recipe = distinct.recipe | {"words": words}
    return LabelVectors(names, distinct.embeddings[order], recipe)
