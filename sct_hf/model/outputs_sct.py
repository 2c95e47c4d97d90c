"""What the models give: matches, outputs, and losses on multi-label targets, some of which may be unknown."""

import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.utils import ModelOutput

from .transport_sct import full_precision, slices
from .vocabulary_sct import Vocabulary

ALL = slice(None)
_PAIRS_AT_ONCE = 2**14  # features of 16,384 pairs take 42 MB at a width of 640


def as_map(regions: Tensor, grid: torch.Size) -> Tensor:
    """Arrange values of regions (B, P, C) on their grid (H, W): (B, C, H, W)."""
    return regions.transpose(1, 2).unflatten(2, tuple(grid))


def pool_features(pooling: Tensor, features: Tensor) -> Tensor:
    """Pool features (B, P, N) for each label by weights (B, P, C): (B, C, N)."""
    return pooling.transpose(1, 2).to(features.dtype) @ features


def aggregate(region_scores: Tensor, plan: Tensor | None = None, share: float = 0.0) -> Tensor:
    """Image scores z[k] = Σ_p w[p,k]·R[p,k] in float32, from R (B, P, C) to (B, C).

    The weights w are softmax_p(R[·,k]), mixed with a `share` of a plan (B, P, C) over regions, if given.
    """
    region_scores = full_precision(region_scores)
    weights = region_scores.softmax(dim=1)  # (B, P, C)
    if plan is not None:
        weights = torch.lerp(weights, plan.to(weights.dtype), share)
    return (weights * region_scores).sum(dim=1)


def scored_at_once(images: Tensor, labels: Tensor) -> bool:
    """Whether pairs of images (B, …) and labels (…, C, N) are so few that all their features stay in memory.

    So it is in an exported graph, whose batch is open: its size is not looked at.
    """
    return torch.compiler.is_exporting() or images.shape[0] * labels.shape[-2] <= _PAIRS_AT_ONCE


def in_parts(compute: Callable[..., Tensor], images: Tensor, *by_label: Tensor) -> Tensor:
    """Join `compute(k, *parts)` (B, c, …) over slices k of many labels, each computed again in the backward pass.

    Args:
        compute: A function of a slice of the labels, and of the parts of `by_label` for it.
        images: A tensor (B, …).
        *by_label: Tensors (…, C, N), cut along their labels.

    Returns:
        (B, C, …), as from one call with all labels, which few labels get.
    """
    if scored_at_once(images, by_label[0]):
        return compute(ALL, *by_label)
    labels, size = by_label[0].shape[-2], max(1, _PAIRS_AT_ONCE // images.shape[0])
    parts = zip(slices(labels, size), *(each.split(size, -2) for each in by_label), strict=True)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(compute, *part, use_reentrant=False) for part in parts], dim=1)
    return torch.cat([compute(*part) for part in parts], dim=1)


class Seen(NamedTuple):
    """What a model sees of images, before it compares them with labels."""

    features: Tensor  # (B, P, D₀)
    fine: Tensor | None  # (B, D_f, 2·H, 2·W), the finer level
    regions: tuple[Tensor, ...]  # (B, P, D) before the encoder and after each layer
    grid: torch.Size  # (H, W)


@dataclass(frozen=True)
class Match:
    """Regions of images matched with the labels of a vocabulary: features, maps and plans."""

    features: Tensor  # (B, P, D₀), and the next three as in `Seen`
    fine: Tensor | None
    regions: tuple[Tensor, ...]
    grid: torch.Size
    vocabulary: Vocabulary
    label_features: Tensor  # (B, C, D)
    semantic_map: Tensor  # (B, P, C)
    log_prior: Tensor | None  # (B, P, C), of regions and labels alike; float32
    fine_map: Tensor | None  # (B, 4·P, C), at the finer level
    similarity: Tensor  # (B, P, C)
    temperature: Tensor  # scalar
    plan: Tensor  # (B, P, C), sums to 1 over C
    backward_plan: Tensor  # (B, P, C), sums to 1 over P
    prototype_plan: Tensor | None  # (B, P, C), sums to 1 over P
    pooling: Tensor  # (B, P, C), sums to 1 over P
    region_scores: Tensor | None = None  # (B, P, C)

    @cached_property
    def pooled_features(self) -> Tensor:
        """The backbone's features pooled for each label, (B, C, D₀); the model itself does not need them."""
        return pool_features(self.pooling, self.features)

    def maps(self) -> dict[str, Tensor]:
        """Semantic map, plans and region scores, (B, C, H, W) each; the finer map is (B, C, 2·H, 2·W)."""
        plans = {"transport_plan": self.plan, "backward_plan": self.backward_plan}
        rows = {"semantic_map": self.semantic_map, "region_scores": self.region_scores, **plans}
        rows["prototype_plan"] = self.prototype_plan
        maps = {name: as_map(each, self.grid) for name, each in rows.items() if each is not None}
        if self.fine_map is not None:
            maps["fine_map"] = as_map(self.fine_map, torch.Size(2 * side for side in self.grid))
        return maps


@dataclass
class MultiLabelOutput(ModelOutput):
    """Output of `SCTForMultiLabelClassification` and of the peer heads.

    Attributes:
        loss (`Tensor`, scalar, *optional*): Weighted sum of `losses` if targets were given; float32.
        logits (`Tensor` of shape (B, C)): float32; the sigmoid gives scores. In evaluation, parents in a hierarchy are
            raised to their highest descendant.
        losses (`dict[str, Tensor]`, *optional*): The parts of the loss, unweighted: one per branch, and "transport".
        branch_logits (`dict[str, Tensor]` of shape (B, C) each): The branches "region", "map", "pooled" and, with two
            levels of features, "fine", whose mean is `logits`; float32.
        semantic_map (`Tensor` of shape (B, C, H, W), *optional*): M, logits. All maps need `output_maps=True`; a peer
            head has `region_scores` at most.
        transport_plan (`Tensor` of shape (B, C, H, W), *optional*): π→, sums to 1 over labels at a region; float32.
        backward_plan (`Tensor` of shape (B, C, H, W), *optional*): π←, sums to 1 over the regions for each label.
        prototype_plan (`Tensor` of shape (B, C, H, W), *optional*): The backward plan of the label prototypes, if any.
        region_scores (`Tensor` of shape (B, C, H, W), *optional*): R, logits.
        fine_map (`Tensor` of shape (B, C, 2·H, 2·W), *optional*): F, logits at the finer level, if there is one.
        hidden_states (`tuple[Tensor]`, *optional*): Regions (B, P, D) before the encoder and after each layer, on
            `output_hidden_states=True`.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    branch_logits: dict[str, Tensor] | None = None
    semantic_map: Tensor | None = None
    transport_plan: Tensor | None = None
    backward_plan: Tensor | None = None
    prototype_plan: Tensor | None = None
    region_scores: Tensor | None = None
    fine_map: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        if self.branch_logits is not None:  # pipelines of transformers take batches apart in these, not in dicts
            self.branch_logits = ModelOutput(self.branch_logits)
        super().__post_init__()

    @property
    def heatmap(self) -> Tensor:
        """Where each label is in the image, (B, C, H, W) float32 in [0, 1]: the map that heatmaps and boxes show.

        It is the sum of semantic map, region scores and finer map, where a model has them. Each is standardised over
        its places and enlarged to the finest of them, (2·H, 2·W) with two levels of features. The sum is scaled to its
        own range. It points better than the transport plan, in which every region sends its mass to some label
        (docs/benchmarks.md). It needs `output_maps=True`.
        """
        given = (self.semantic_map, self.region_scores, self.fine_map)
        maps = [_standardised(each) for each in given if each is not None]
        size = maps[-1].shape[-2:]
        total = torch.stack([F.interpolate(each, size, mode="bilinear") for each in maps]).sum(0)  # (B, C, H, W)
        low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)  # (B, C, 1, 1)
        return (total - low) / torch.where(high > low, high - low, 1.0)


def _standardised(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) minus their mean over the regions, divided by their deviation."""
    centred = maps.float() - maps.float().mean((2, 3), keepdim=True)
    deviation = centred.square().mean((2, 3), keepdim=True).sqrt()
    return centred / torch.where(deviation > 0, deviation, 1.0)


@dataclass
class SCTModelOutput(ModelOutput):
    """Output of `SCTModel`. `pipeline("image-feature-extraction")` returns its first field.

    Attributes:
        label_features (`Tensor` of shape (B, C, D)): Semantic-related features Fˢ of each label in this image.
        last_hidden_state (`Tensor` of shape (B, P, D)): Regions in context, X.
        semantic_map, transport_plan, backward_plan, prototype_plan (`Tensor` of shape (B, C, H, W)): As in
            `MultiLabelOutput`, and so is `fine_map`.
        pooled_features (`Tensor` of shape (B, C, D₀)): The backbone's features, pooled for each label by the plans.
        hidden_states (`tuple[Tensor]`, *optional*): Regions (B, P, D) before the encoder and after each layer.
    """

    label_features: Tensor | None = None
    last_hidden_state: Tensor | None = None
    semantic_map: Tensor | None = None
    transport_plan: Tensor | None = None
    backward_plan: Tensor | None = None
    prototype_plan: Tensor | None = None
    fine_map: Tensor | None = None
    pooled_features: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


def label_scores(logits: Tensor, config: Any, names: Sequence[str] | None = None) -> Tensor:
    """Scores of labels, calibrated if the checkpoint is: sigmoid(a · logit + b) (Platt, 1999).

    Args:
        logits (`Tensor` of shape (B, C)): Any float dtype.
        config (`PreTrainedConfig`): The model's configuration.
        names (`list[str]`, *optional*): The labels' names, if they are not the checkpoint's. Labels that the
            checkpoint lacks are not calibrated.

    Returns:
        `Tensor` of shape (B, C): float32 in [0, 1].
    """
    logits, calibration = logits.float(), getattr(config, "calibration", None)
    if calibration is None:
        return logits.sigmoid()
    slope, shift = calibration["slope"], calibration["shift"]
    if names is not None:
        pairs = dict(zip(config.label_names, zip(slope, shift, strict=True), strict=True))
        slope, shift = zip(*(pairs.get(name, (1.0, 0.0)) for name in names), strict=True)
    return torch.sigmoid(logits.new_tensor(slope) * logits + logits.new_tensor(shift))


def default_profile(profiles: Iterable[str]) -> str:
    """The profile that applies if none is named: "balanced" if there is one, else the first by name.

    A rule of names, since the order of a config.json means nothing.
    """
    names = sorted(profiles)
    return "balanced" if "balanced" in names else names[0]


def label_thresholds(config: Any, profile: str | None = None) -> list[float] | None:
    """The thresholds of a checkpoint's C labels: those of a profile, or of the default one.

    Returns:
        C numbers in [0, 1], infinite for a label that cannot keep what the profile promises; None if the checkpoint
        has no thresholds.

    Raises:
        ValueError: The checkpoint has no such profile.
    """
    given = getattr(config, "thresholds", None)
    profiles = given if isinstance(given, Mapping) else {}
    if profile is not None and profile not in profiles:
        remedy = (
            f"choose from {', '.join(profiles)}" if profiles else "the checkpoint has none; sct-hf calibrate adds some"
        )
        raise ValueError(f"profile is {reprlib.repr(profile)}: {remedy}")
    values = profiles[profile or default_profile(profiles)] if profiles else given
    return None if values is None else [math.inf if value is None else float(value) for value in values]


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


__all__ = ["Match", "MultiLabelOutput", "SCTModelOutput", "Seen", "as_map", "asymmetric_loss", "known_targets"]
__all__ += ["ALL", "aggregate", "default_profile", "in_parts", "label_scores", "label_thresholds", "pool_features"]
__all__ += ["scored_at_once", "weighted_sum"]
