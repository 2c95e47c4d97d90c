"""A linear classifier on globally average-pooled features, the usual head in timm and transformers."""

import torch.nn.functional as F
from torch import Tensor, nn

from sct_hf.peers.registry import register_head
from sct_hf.peers.scoring_head import ScoringHead


@register_head("linear")
class LinearHead(ScoringHead):
    """Global average pooling and one linear layer.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
    """

    def __init__(self, num_features: int, num_labels: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(num_features, num_labels)

    def score(self, features: Tensor) -> Tensor:
        """Map features (…, D₀) of regions or images to scores (…, C)."""
        return self.classifier(features)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) to logits (B, C)."""
        # This pooling hands the backbone a gradient in the memory format of its map, which a mean does not.
        return self.score(F.avg_pool2d(features, features.shape[2:]).flatten(1))

    def region_scores(self, features: Tensor) -> Tensor:
        """The class activation maps (B, C, H, W) of features (B, D₀, H, W) (Zhou et al., CVPR 2016).

        A map is the score of each region; its mean over regions is the logit.
        """
        return self.score(features.movedim(1, 3)).movedim(3, 1)
