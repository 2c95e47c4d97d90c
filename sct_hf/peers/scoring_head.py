"""The base of peer heads that score features by one vector a label."""

from torch import Tensor, nn


class ScoringHead(nn.Module):
    """Base class of heads whose `forward` scores regions, or their mean, by `score` and by nothing else.

    A subclass may add to these scores, as prototypes do.
    """

    def score(self, features: Tensor) -> Tensor:
        """Map features (…, D₀) of regions or images to scores (…, C)."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) to logits (B, C)."""
        raise NotImplementedError
