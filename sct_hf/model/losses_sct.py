"""Losses for multi-label targets, some of which may be unknown."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .transport_sct import full_precision


def known_targets(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Split targets into a mask of known entries and values without NaN.

    Args:
        targets (`Tensor` of any shape): Values in [0, 1]; −1 or NaN marks an unknown entry.

    Returns:
        `tuple[Tensor, Tensor]`: a bool mask of the same shape, and float32 targets with 0 where unknown.
    """
    targets = full_precision(targets)
    known = targets >= 0  # False for NaN
    return known, torch.where(known, targets, 0.0)


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_neg: float | Tensor = 2.0,
    gamma_pos: float | Tensor = 0.0,
    clip: float = 0.0,
    positive_weight: Tensor | None = None,
    logit_shift: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Asymmetric loss (ASL; Ben-Baruch et al., ICCV 2021) on the known entries; BCE-with-logits at γ = 0, clip = 0.

    −w·(a·y·log p + (1 − y)·log(1 − p_m)) with p = sigmoid(logit + s), p_m = max(p − clip, 0) and the focal weight
    w = (1 − p_t)^γ, without gradient. p_t and γ are interpolated by y between their values for an absent and a present
    label: exactly ASL for y in {0, 1}, and ASL's code for soft targets. ASL's own defaults are γ₋ = 4, γ₊ = 1, clip
    0.05 and a sum. Exponents, positive weights a and shifts s per label are for unbalanced labels; without focus, a is
    the `pos_weight` of PyTorch's BCEWithLogitsLoss.

    Args:
        logits (`Tensor` of any shape): Any float dtype; computed in float32 (float64 for float64 input).
        targets (`Tensor` of the same shape): Values in [0, 1]; −1 or NaN is unknown and ignored.
        gamma_neg (`float` or `Tensor` of shape (C,), *optional*, defaults to 2.0): γ₋, for all labels or each.
        gamma_pos (`float` or `Tensor` of shape (C,), *optional*, defaults to 0.0): γ₊.
        clip (`float`, *optional*, defaults to 0.0): Margin by which an absent label's probability is lowered.
        positive_weight (`Tensor` of shape (C,), *optional*): a ≥ 0 of each label; 1 if not given.
        logit_shift (`Tensor` of shape (C,), *optional*): s, added to the logits of each label; 0 if not given.
        reduction (`"mean"`, `"sum"` or `"none"`, *optional*, defaults to `"mean"`): The mean divides by the number
            of known entries (0 if there is none); `"none"` has 0 at unknown entries.

    Returns:
        `Tensor`: float32 (float64 for float64 input), a scalar unless `reduction="none"`.

    Raises:
        ValueError: Shapes differ, an exponent or the clip is out of range, the reduction is unknown, or a target is
            outside [0, 1] ∪ {−1, NaN}. Targets are checked on the CPU only, since the check would stall a GPU.
    """
    if logits.shape != targets.shape:
        raise ValueError(f"targets have shape {tuple(targets.shape)}, but the logits {tuple(logits.shape)}.")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction={reduction!r} cannot be used: choose 'mean', 'sum' or 'none'.")
    exponents = (gamma_neg, gamma_pos)
    if any(not isinstance(gamma, Tensor) and gamma < 0 for gamma in exponents) or not 0 <= clip < 1:
        raise ValueError(
            f"gamma_neg={gamma_neg}, gamma_pos={gamma_pos}, clip={clip} cannot be used: give exponents >= 0 and "
            "a clip in [0, 1)."
        )
    if targets.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = ~((targets >= 0) & (targets <= 1) | (targets == -1) | targets.isnan())
        if wrong.any():
            raise ValueError(
                f"targets contain {targets[wrong][0].item()}: give values in [0, 1], or −1 or NaN for unknown."
            )
    known, y = known_targets(targets)
    logits = full_precision(logits)
    if logit_shift is not None:
        logits = logits + logit_shift
    logits = torch.where(known, logits, 0.0)
    log_p = F.logsigmoid(logits)
    if positive_weight is not None:
        log_p = positive_weight * log_p
    if clip > 0:
        log_not_p = torch.log((torch.sigmoid(-logits) + clip).clamp(max=1))
    else:
        log_not_p = F.logsigmoid(-logits)
    loss = -(y * log_p + (1 - y) * log_not_p)
    if any(isinstance(gamma, Tensor) or gamma > 0 for gamma in exponents):
        with torch.no_grad():
            p = torch.sigmoid(logits)
            p_absent = (torch.sigmoid(-logits) + clip).clamp(max=1)  # 1 − p_m
            p_t = y * p + (1 - y) * p_absent
            focus = (1 - p_t) ** (y * gamma_pos + (1 - y) * gamma_neg)
        loss = loss * focus
    loss = torch.where(known, loss, 0.0)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / known.sum().clamp(min=1)


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Σ weight · loss over losses by name; a missing weight is 1."""
    return torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()


__all__ = ["asymmetric_loss", "known_targets", "weighted_sum"]
