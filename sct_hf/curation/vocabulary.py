"""Words for what a backbone sees: of WordNet, or the user's."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from sct_hf.backbone_classifier import BackboneClassifier, load_backbone_classifier, with_names
from sct_hf.curation.clusters import WordClasses
from sct_hf.errors import InputError
from sct_hf.extras import usual_encoder
from sct_hf.label_text.class_words import cover_classes, depth_of
from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.prototypes import encode_label_classes

_SOURCES = ("package", "pretrained")
_CONCRETE = 3  # least steps below "entity": "matter" and "communication" say too little


def word_classes(model: PreTrainedModel, names: Sequence[str] | None = None) -> WordClasses:
    """Words in terms of the ImageNet classes that a model's backbone was pretrained with.

    Args:
        model: A checkpoint of this package.
        names: The user's words, which find classes by their text as labels do (`make_label_classes`). By default the
            nouns of WordNet for the classes and for all that they are kinds of.

    Raises:
        InputError: The backbone has no classifier with known classes, or a name cannot be embedded.
    """
    classifier = _classifier_of(model)
    if names is None:
        found = cover_classes(classifier)
        if found is None:
            raise InputError("its classes are not the 1,000 of ImageNet; give words by vocabulary")
        every, covers = found
        rows = [row for row, word in enumerate(every) if depth_of(word) >= _CONCRETE]
        words, shares = [every[row] for row in rows], covers[rows]
    else:
        words = list(names)
        encoder = (getattr(model.config, "text_recipe", None) or {}).get("encoder") or usual_encoder()
        shares = encode_label_classes(encode_labels(words, encoder), classifier, encoder)
    return WordClasses(words, shares.float().numpy(), classifier.weight.float().cpu().numpy())


def _classifier_of(model: PreTrainedModel) -> BackboneClassifier:
    """The classifier that a checkpoint has, else that of its backbone's weights."""
    vectors = getattr(model.base_model, "class_vectors", None)
    if isinstance(vectors, torch.Tensor) and (named := with_names(vectors.detach())) is not None:
        return named
    reasons = []
    for source in _SOURCES:
        try:
            return load_backbone_classifier(model.config.backbone, source)
        except InputError as error:
            reasons.append(str(error).partition(": ")[2].partition(". ")[0])
    raise InputError("; ".join(reasons))
