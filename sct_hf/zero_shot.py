"""A tagger for any labels from their names alone: no training, and no download."""

from sct_hf.backbone_classifier import load_backbone_classifier
from sct_hf.errors import InputError
from sct_hf.factory import build_model
from sct_hf.label_text.class_words import encode_class_words
from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.prototypes import encode_classes, make_label_classes
from sct_hf.peers.modeling_peer import PeerForMultiLabelClassification
from sct_hf.peers.zero_shot import ZeroShotHead


def zero_shot_model(
    labels: list[str],
    *,
    backbone: str = "tf_efficientnet_lite0",
    backbone_weights: str = "package",
    label_encoder: str = "minilm",
    image_size: int | list[int] = 256,
) -> PeerForMultiLabelClassification:
    """Make a tagger that asks the backbone's ImageNet classifier for the classes of each label.

    It finds what ImageNet's 1,000 classes show: "dog" by 118 breeds, but no "happiness". A score is the sigmoid of
    `class_evidence`. That, and the shares of classes (`make_label_classes`), are this project's choices.

    Args:
        labels: The labels' names, at least two.
        backbone: Name of a timm model with an ImageNet classifier.
        backbone_weights: Where its weights come from, see `load_backbone_weights`.
        label_encoder: Text encoder of labels and classes, see `encode_labels`.
        image_size: Input side in pixels, or [height, width].

    Returns:
        The model in evaluation mode. It saves, loads, tags, exports and publishes as every other.

    Raises:
        InputError: The labels, the encoder or the backbone cannot be used.
    """
    label_vectors = encode_labels(labels, label_encoder)
    classifier = load_backbone_classifier(backbone, backbone_weights)
    class_text = encode_classes(classifier, label_encoder)
    class_words = encode_class_words(classifier, label_encoder)
    if class_words is None:
        raise InputError(
            f"backbone={backbone!r}: its classifier has {len(classifier.weight):,} classes, for which there are no "
            "words. Give a backbone with weights for the 1,000 classes of ImageNet."
        )
    count = len(classifier.weight)
    model = build_model(
        backbone,
        labels,
        image_size=image_size,
        head="zero_shot",
        backbone_weights=backbone_weights,
        head_kwargs={"num_classes": count},
        text_recipe=label_vectors.recipe,
    )
    assert isinstance(model, PeerForMultiLabelClassification)
    assert isinstance(model.head, ZeroShotHead)
    model.head.class_vectors.copy_(classifier.centred)
    model.head.label_classes.copy_(make_label_classes(label_vectors, class_text, class_words))
    return model.eval()
