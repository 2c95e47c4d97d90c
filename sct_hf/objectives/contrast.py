"""Contrastive loss between the labels of a batch, off by default."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from sct_hf.model.transport_sct import cosine_similarity, full_precision
from sct_hf.objectives.base import Context, Objective, Step, register_objective
from sct_hf.options import CheckedOptions, option

_GROUP = "what is learnt from labels"


@dataclass
class ContrastOptions(CheckedOptions):
    """Options of the contrastive loss between labels."""

    contrast_loss_weight: float = option(
        0.0,
        "Weight of the contrastive loss between labels of a batch, for sct; 0 turns it off.",
        group=_GROUP,
        within=">= 0",
    )
    contrast_temperature: float = option(0.1, "Temperature of the contrastive loss.", group=_GROUP, within="> 0")


@register_objective("contrast")
class Contrast(Objective):
    """The loss "contrast": `label_contrast_loss` of the image's share of the pooled label features.

    Args:
        weight: Weight of the loss.
        temperature: τ > 0.
    """

    Options = ContrastOptions

    def __init__(self, weight: float, temperature: float) -> None:
        super().__init__()
        self.weight, self.temperature = weight, temperature

    @classmethod
    def from_options(cls, options: ContrastOptions, context: Context) -> Self | None:
        """Make the part if its weight is above 0 and the model scores pooled features."""
        if not options.contrast_loss_weight:
            return None
        if not hasattr(context.model, "pooled_scorer"):
            context.left_out("contrast_loss_weight")
            return None
        return cls(options.contrast_loss_weight, options.contrast_temperature)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """The loss "contrast"."""
        features = step.model.pooled_scorer.embed(step.match.pooled_features)  # (B, C, 2D)
        return {"contrast": label_contrast_loss(features, step.labels, self.temperature)}

    def weights(self, progress: float) -> dict[str, float]:
        """The weight of the loss, constant over training."""
        return {"contrast": self.weight}


def label_contrast_loss(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Pull features of a label together across images, and push them from those of other labels.

    After MulCon (Dao et al., arXiv 2107.11626), which contrasts features of the labels present in a batch; its paper
    was not read. The form is the supervised contrastive loss of Khosla et al. (NeurIPS 2020). Let z be the unit
    vectors of all K present (image, label) pairs, i an anchor, and P(i) the other pairs of its label. The loss of i is
    −1/|P(i)| Σ_p log(exp(z_i·z_p/τ) / Σ_{a≠i} exp(z_i·z_a/τ)). This project chose the mean over anchors with a partner
    and the features (see `Contrast`). It uses no projection network and no second view.

    Args:
        features (`Tensor` of shape (B, C, N)): A vector of each label in each image, any float dtype.
        labels (`Tensor` of shape (B, C)): Targets; only pairs with a target of exactly 1 count.
        temperature (`float`): τ > 0.

    Returns:
        `Tensor`: scalar, float32 (float64 for float64 input); 0 if no label is present in two images.
    """
    rows, label_of = (labels == 1).nonzero(as_tuple=True)  # (K,) each
    vectors = features[rows, label_of].unsqueeze(0)  # (1, K, N)
    if len(rows) < 2:
        return full_precision(vectors).sum() * 0
    similarity = cosine_similarity(vectors, vectors).squeeze(0) / temperature  # (K, K)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    partners = (label_of.unsqueeze(1) == label_of) & ~itself  # (K, K)
    log_share = similarity - similarity.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)  # (K, K)
    count = partners.sum(1)  # (K,)
    of_anchor = -torch.where(partners, log_share, 0).sum(1) / count.clamp(min=1)  # (K,)
    return of_anchor.sum() / (count > 0).sum().clamp(min=1)
