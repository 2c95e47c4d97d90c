"""Contrast between the labels of a batch of images: a training loss, off by default."""

import torch
from torch import Tensor

from .transport_sct import cosine_similarity, full_precision


def label_contrast_loss(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Pull a label's features together across the images that show it, and apart from those of other labels.

    After MulCon (Dao et al., arXiv 2107.11626), which contrasts label-level features of the labels present in a
    batch; its paper was not at hand. The form is the supervised contrastive loss of Khosla et al. (NeurIPS 2020): with
    unit vectors z of all K present (image, label) pairs, an anchor i and the set P(i) of the other pairs of its
    label, −1/|P(i)| Σ_p log(exp(z_i·z_p/τ) / Σ_{a≠i} exp(z_i·z_a/τ)). The mean over the anchors with a partner is
    ours, as is what the features are (see `SCTForMultiLabelClassification`), without a network of its own for the
    contrast and without a second view of each image.

    Args:
        features (`Tensor` of shape (B, C, N)): A vector of each label in each image, any float dtype.
        labels (`Tensor` of shape (B, C)): Targets; pairs with a target of exactly 1 take part.
        temperature (`float`): τ > 0.

    Returns:
        `Tensor`: scalar, float32 (float64 for float64 input); 0 where no label is present in two images.
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


__all__ = ["label_contrast_loss"]
