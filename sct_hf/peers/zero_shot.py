"""A tagger without training: the backbone's own classifier, asked for a label's classes."""

from torch import Tensor

from sct_hf.peers.backbone_classes import BackboneClassesHead
from sct_hf.peers.registry import register_head


@register_head("zero_shot")
class ZeroShotHead(BackboneClassesHead):
    """Evidence of each label: the classifier's probability of its classes, see `class_evidence`. Nothing is learned.

    `sct_hf.zero_shot.zero_shot_model` fills it.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        num_classes (`int`, *optional*, defaults to 1000): Classes K of the classifier.
    """

    trainable = False

    def __init__(self, num_features: int, num_labels: int, num_classes: int = 1000) -> None:
        super().__init__()
        self.hold_classes(num_features, num_labels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) to logits (B, C)."""
        return self.evidence(features.mean((2, 3)))

    def region_scores(self, features: Tensor) -> Tensor:
        """Evidence of each region alone, (B, C, H, W) of features (B, D₀, H, W)."""
        regions = features.flatten(2).transpose(1, 2)  # (B, P, D₀)
        scores = self.evidence(regions.flatten(0, 1))  # (B·P, C)
        return scores.unflatten(0, regions.shape[:2]).transpose(1, 2).unflatten(2, features.shape[2:])
