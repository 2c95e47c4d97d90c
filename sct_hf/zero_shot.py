"""A tagger for any labels from their names alone: no training, and no download."""

from sct_hf.backbone_classifier import load_backbone_classifier
from sct_hf.factory import build_model
from sct_hf.label_text.encoders import encode_labels
from sct_hf.label_text.prototypes import encode_label_classes
from sct_hf.peers.modeling_peer import PeerForMultiLabelClassification


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
    model = build_model(
        backbone,
        labels,
        image_size=image_size,
        head="zero_shot",
        backbone_weights=backbone_weights,
        label_vectors=label_vectors,
        label_prototypes=encode_label_classes(label_vectors, classifier, label_encoder),
        class_vectors=classifier.centred,
    )
    assert isinstance(model, PeerForMultiLabelClassification)
    return model.eval()
