"""CSRA, class-specific residual attention (Zhu & Wu, ICCV 2021, arXiv 2108.02456)."""

from torch import Tensor, nn

from sct_hf.model.transport_sct import full_precision
from sct_hf.peers.registry import register_head
from sct_hf.peers.scoring_head import ScoringHead


@register_head("csra")
class CSRAHead(ScoringHead):
    """A linear classifier on every region; its mean over regions plus λ times its softmax-weighted mean.

    It has one head and temperature 1, as in the paper for VOC2007. The classifier's rows are unit vectors without
    bias, as in the authors' code.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        residual_weight (`float`, *optional*, defaults to 0.1): λ.
        temperature (`float`, *optional*, defaults to 1.0): T, which multiplies scores in the softmax.
    """

    def __init__(
        self, num_features: int, num_labels: int, residual_weight: float = 0.1, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.classifier = nn.Linear(num_features, num_labels, bias=False)
        self.residual_weight, self.temperature = residual_weight, temperature

    def score(self, features: Tensor) -> Tensor:
        """Map features (…, D₀) of regions or images to scores (…, C), float32."""
        return full_precision(self.classifier(features)) / full_precision(self.classifier.weight).norm(dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) to logits (B, C)."""
        scores = self.score(features.flatten(2).transpose(1, 2))  # (B, P, C)
        attended = ((self.temperature * scores).softmax(dim=1) * scores).sum(dim=1)
        return scores.mean(dim=1) + self.residual_weight * attended
