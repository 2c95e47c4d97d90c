"""Prototypes of labels in a backbone's feature space, from label text and the backbone's own classifier."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sct_hf.backbone_classifier import BackboneClassifier
from sct_hf.errors import InputError
from sct_hf.label_text.class_words import ClassWords, encode_class_words
from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.vectors import LabelVectors

_NAME_TEMPERATURE = 0.07
_WORD_TEMPERATURE = 0.05
_LONGEST = 80


def make_label_prototypes(
    label_vectors: LabelVectors, class_text: LabelVectors, classifier: BackboneClassifier
) -> Tensor:
    """Average the classifier's vectors, weighted by the similarity of label text and class text.

    V = softmax(s / 0.07)·(W − mean of W), where s are cosines between label and class embeddings, both minus the mean
    class embedding. ConSE (Norouzi et al., ICLR 2014, arXiv 1312.5650) takes such convex combinations in the text
    space. Combining classifiers, and the temperature, are this project's. Training prefers `make_label_classes`, and
    takes this where the classes have no words.

    Args:
        label_vectors: Vectors of the C labels.
        class_text: Vectors of the K classes by the same encoder, see `encode_classes`.
        classifier: The classifier of the K classes.

    Returns:
        (C, D₀) float32.
    """
    return _shares(label_vectors, class_text, class_text, _NAME_TEMPERATURE) @ classifier.centred  # (C, D₀)


def make_label_classes(label_vectors: LabelVectors, class_text: LabelVectors, class_words: ClassWords) -> Tensor:
    """How far each class of a classifier shows a label, by the label's text.

    The mean of two estimates, both from cosines s of text embeddings minus the mean class embedding:

    - by name: softmax(s / 0.07) over the names of the classes;
    - by word: softmax(s / 0.05) over WordNet's words, of which each gives its share to all classes that it covers. So
      "dog" finds 118 breeds, of which no name says "dog".

    The prototype of a label is the class vectors mixed by these shares; its evidence is their probability in an
    image, see `sct_hf.model.hierarchy_sct`. The formula and both temperatures are this project's, chosen on VOC2007
    train.

    Args:
        label_vectors: Vectors of the C labels.
        class_text: Vectors of the K classes by the same encoder, see `encode_classes`.
        class_words: Words for these classes by the same encoder, see `encode_class_words`.

    Returns:
        (C, K) float32 in [0, 1].
    """
    by_name = _shares(label_vectors, class_text, class_text, _NAME_TEMPERATURE)  # (C, K)
    of_words = _shares(label_vectors, class_words.vectors, class_text, _WORD_TEMPERATURE)  # (C, V)
    return (by_name + of_words @ class_words.covers.float()) / 2  # (C, K)


def encode_label_classes(
    label_vectors: LabelVectors, classifier: BackboneClassifier, encoder: str, *, template: str = "{}"
) -> Tensor:
    """`make_label_classes` with names and words of the classes embedded here, (C, K) float32.

    Raises:
        InputError: The classes have no words, or the encoder cannot embed them.
    """
    class_text = encode_classes(classifier, encoder, template=template)
    class_words = encode_class_words(classifier, encoder, template=template)
    if class_words is None:
        raise InputError(
            f"backbone: its classifier has {len(classifier.weight):,} classes, for which there are no words. Give a "
            "backbone with weights for the 1,000 classes of ImageNet."
        )
    return make_label_classes(label_vectors, class_text, class_words)


def _shares(labels: LabelVectors, others: LabelVectors, classes: LabelVectors, temperature: float) -> Tensor:
    """Softmax over N other texts of their similarity to each label, (C, N)."""
    centre = classes.embeddings.mean(0)  # (D_t,)
    mine, theirs = (F.normalize(each.embeddings - centre, dim=-1) for each in (labels, others))  # (C, D_t), (N, D_t)
    return (mine @ theirs.T / temperature).softmax(dim=1)


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
