"""Entropic optimal transport by Sinkhorn's iterations (Cuturi, NeurIPS 2013, arXiv 1306.0895), in log space."""

import torch
from torch import Tensor

from sct_hf.model.transport_sct import full_precision

_ITERATIONS = 50


def sinkhorn_plan(
    cost: Tensor, region_weights: Tensor, label_weights: Tensor, *, epsilon: float, iterations: int = _ITERATIONS
) -> Tensor:
    """The plan T that minimises ⟨T, cost⟩ + ε·Σ T·(log T − 1) with given sums over labels and over regions.

    A fixed number of iterations, which gradients flow through. The last one fits the sums over regions, so that these
    are exact, and those over labels nearly so.

    Args:
        cost (`Tensor` of shape (B, P, C)): Any float dtype.
        region_weights (`Tensor` of shape (B, P)): Mass of each region, above 0, with a sum of 1.
        label_weights (`Tensor` of shape (B, C)): Mass of each label, above 0, with a sum of 1.
        epsilon (`float`): ε > 0.
        iterations (`int`, *optional*, defaults to 50): Iterations, at least one.

    Returns:
        `Tensor` of shape (B, P, C), float32 (float64 for float64 input).
    """
    kernel = -full_precision(cost) / epsilon  # (B, P, C)
    rows, columns = (full_precision(weights).log() for weights in (region_weights, label_weights))
    by_label = torch.zeros_like(columns)  # (B, C)
    by_region = torch.zeros_like(rows)  # (B, P)
    for _ in range(iterations):
        by_region = rows - (kernel + by_label.unsqueeze(1)).logsumexp(2)
        by_label = columns - (kernel + by_region.unsqueeze(2)).logsumexp(1)
    return (kernel + by_region.unsqueeze(2) + by_label.unsqueeze(1)).exp()
