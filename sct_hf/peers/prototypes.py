"""Linear and CSRA heads with what SCT has from the backbone's own classifier: label prototypes and evidence.

With them, a comparison shows what SCT's structure is worth, apart from what that classifier knows.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sct_hf.model.vocabulary_sct import EVIDENCE_WEIGHT
from sct_hf.peers.backbone_classes import BackboneClassesHead
from sct_hf.peers.csra import CSRAHead
from sct_hf.peers.linear import LinearHead
from sct_hf.peers.registry import register_head
from sct_hf.peers.scoring_head import ScoringHead


class WithPrototypes(BackboneClassesHead, ScoringHead):
    """Put before a `ScoringHead` among the bases of a class, it adds prototypes and evidence to that head.

    Scores of features x become score(x) + `prototype_scale` · V·x with the labels' prototypes V, and logits have half
    of `class_evidence` added: both as in SCT, with its weights. This project's, not of the papers of these heads.

    Args:
        num_features (`int`): Width D₀ of the backbone's map.
        num_labels (`int`): Labels C.
        num_classes (`int`, *optional*, defaults to 1000): Classes K of the classifier.
        prototype_scale (`float`, *optional*, defaults to 0.5): Weight of the prototypes' scores.
        **options: Arguments of the head.
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        num_classes: int = 1000,
        prototype_scale: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(num_features, num_labels, **options)
        if not prototype_scale >= 0:
            raise ValueError(f"prototype_scale={prototype_scale} cannot be used: give a number >= 0")
        self.prototype_scale = prototype_scale
        self.hold_classes(num_features, num_labels, num_classes)

    def score(self, features: Tensor) -> Tensor:
        """Map features (…, D₀) of regions or images to scores (…, C)."""
        prototypes = self.prototypes().to(features.dtype)  # (C, D₀)
        return super().score(features) + self.prototype_scale * F.linear(features, prototypes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D₀, H, W) to logits (B, C)."""
        return super().forward(features) + EVIDENCE_WEIGHT * self.evidence(features.mean((2, 3)))


@register_head("linear_prototypes")
class LinearPrototypesHead(WithPrototypes, LinearHead):
    """`LinearHead` with label prototypes and evidence, see `WithPrototypes`. Its maps are without evidence."""


@register_head("csra_prototypes")
class CSRAPrototypesHead(WithPrototypes, CSRAHead):
    """`CSRAHead` with label prototypes and evidence, see `WithPrototypes`."""
