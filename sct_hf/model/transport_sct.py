"""Conditional transport between two sets of features, here regions of an image and labels.

Theory: Zheng & Zhou, "Exploiting Chain Rule and Bayes' Theorem to Compare Probability Distributions", NeurIPS 2021
(arXiv 2012.14100); for patches and labels: PatchCT, ICCV 2023 (arXiv 2307.09066).
"""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

MIN_TEMPERATURE = 1e-6  # a sharper plan is already one-hot in float32
_MIN_NORM = 1e-6
_PAIRS_AT_ONCE = 2**22
_LOG2_E = math.log2(math.e)


@dataclass
class ConditionalTransport:
    """The outcome of `conditional_transport`, in float32 (float64 for float64 input).

    Attributes:
        cost (`Tensor` of shape (B, P, C)): 1 − cosine similarity, in [0, 2].
        forward_plan (`Tensor` of shape (B, P, C)): From each region to the labels; sums to 1 over labels, or is all
            zero in an image whose label weights are all zero.
        backward_plan (`Tensor` of shape (B, P, C)): From each label to the regions; sums to 1 over regions, or is
            all zero in an image whose region weights are all zero.
        loss (`Tensor`, scalar): The transport cost, a mean over the batch.
    """

    cost: Tensor
    forward_plan: Tensor
    backward_plan: Tensor
    loss: Tensor


def full_precision(tensor: Tensor) -> Tensor:
    """`tensor` in float32; float64 stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def cosine_similarity(regions: Tensor, labels: Tensor) -> Tensor:
    """Cosine similarity of each region and each label: 0 for a zero vector, reduced for lengths below 1e-6.

    Args:
        regions (`Tensor` of shape (B, P, D)): Any float dtype.
        labels (`Tensor` of shape (B, C, D)): Any float dtype.

    Returns:
        `Tensor` of shape (B, P, C), float32 (float64 for float64 input), also under autocast.
    """
    dtype = torch.promote_types(torch.promote_types(regions.dtype, labels.dtype), torch.float32)
    with without_autocast(regions.device.type):
        u = F.normalize(regions.to(dtype), dim=-1, eps=_MIN_NORM)  # (B, P, D)
        v = labels.to(dtype)  # (B, C, D)
        if outnumbered(regions, labels):  # the product is smaller than a copy of the labels
            return u @ v.transpose(1, 2) / v.norm(dim=-1).clamp(min=_MIN_NORM).unsqueeze(1)  # (B, P, C)
        return u @ F.normalize(v, dim=-1, eps=_MIN_NORM).transpose(1, 2)  # (B, P, C)


def outnumbered(regions: Tensor, labels: Tensor) -> bool:
    """Whether there are fewer regions (B, P, N) than labels (B, C, D); False where a graph is open to both."""
    return not torch.compiler.is_exporting() and labels.shape[1] > regions.shape[1]


def without_autocast(device: str) -> AbstractContextManager[object]:
    """A context in which a device type, such as "cpu", computes in the dtype of its tensors."""
    return torch.autocast(device, enabled=False) if _has_autocast(device) else nullcontext()


@torch.compiler.assume_constant_result  # a graph of torch 2.11 cannot hold the call
def _has_autocast(device: str) -> bool:
    return torch.amp.is_autocast_available(device)


def transport_plan(
    similarity: Tensor, temperature: float | Tensor, log_prior: Tensor | None, weights: Tensor | None, dim: int
) -> Tensor:
    """A navigator: π ∝ weight · exp(similarity / τ + log-prior), normalised over `dim` (arXiv 2012.14100).

    Args:
        similarity (`Tensor` of shape (B, P, C)): From `cosine_similarity`.
        temperature (`float` or scalar `Tensor`): τ; below 1e-6 it counts as 1e-6.
        log_prior (`Tensor` of shape (B, P, C), *optional*): Added to the similarity term. A constant along `dim` has
            no effect, so it need not be normalised.
        weights (`Tensor` of shape (B, 1, C) or (B, P, 1), *optional*): Weights along `dim`; uniform if not given.
        dim (`int`): 2 for the forward plan (over labels), 1 for the backward plan (over regions).

    Returns:
        `Tensor` of shape (B, P, C): sums to 1 over `dim`; zero where the weight is zero.
    """
    logits = plan_logits(similarity, tau(temperature, similarity), log_prior)  # (B, P, C)
    plan = weighted(logits, weights).softmax(dim)
    return plan if weights is None else plan * (weights > 0)


def transport_loss(
    similarity: Tensor,
    *,
    temperature: float | Tensor,
    region_log_prior: Tensor | None = None,
    label_log_prior: Tensor | None = None,
    region_weights: Tensor | None = None,
    label_weights: Tensor | None = None,
    rho: float = 0.5,
    labels_at_once: int | None = None,
) -> Tensor:
    """The loss of `conditional_transport` alone, without keeping any tensor of shape (B, P, C) but the similarity.

    It processes labels in chunks: running sums in the forward pass, an explicit gradient in the backward pass. Memory
    besides similarity, log-priors and their gradients does not grow with C.

    Args:
        similarity (`Tensor` of shape (B, P, C)): From `cosine_similarity`.
        temperature (`float` or scalar `Tensor`): This and all following but the last are as in
            `conditional_transport`, but not checked.
        region_log_prior (`Tensor` of shape (B, P, C), *optional*): For the backward plan.
        label_log_prior (`Tensor` of shape (B, P, C), *optional*): For the forward plan.
        region_weights (`Tensor` of shape (B, P), *optional*): a.
        label_weights (`Tensor` of shape (B, C), *optional*): q.
        rho (`float`, *optional*, defaults to 0.5): ρ.
        labels_at_once (`int`, *optional*): Labels per chunk; by default about 4 million pairs.

    Returns:
        `Tensor`: Scalar, differentiable once, in the dtype of `similarity`.
    """
    clamped = tau(temperature, similarity)
    a = _normalised(region_weights, similarity, dim=1)  # (B, P, 1), or none
    q = _normalised(label_weights, similarity, dim=2)  # (B, 1, C), or none
    if labels_at_once is None:
        batch, num_regions, num_labels = similarity.shape
        few = batch * num_regions * num_labels <= _PAIRS_AT_ONCE
        labels_at_once = num_labels if few else max(1, _PAIRS_AT_ONCE // (batch * num_regions))
    one = region_log_prior is label_log_prior  # then its logits serve both plans
    priors = (label_log_prior, None if one else region_log_prior)
    costs = TransportCost.apply(similarity, clamped, *priors, a, q, one, rho, labels_at_once)  # (B,)
    return costs.mean()


def tau(temperature: float | Tensor, like: Tensor) -> Tensor:
    """A temperature of at least 1e-6, as a scalar with the dtype and device of `like`."""
    return torch.as_tensor(temperature, dtype=like.dtype, device=like.device).clamp(min=MIN_TEMPERATURE)


def _normalised(weights: Tensor | None, like: Tensor, dim: int) -> Tensor | None:
    """Weights that sum to 1 over their last dimension, shaped for (B, P, C); an all-zero row stays zero."""
    if weights is None:
        return None
    weights = weights.to(like.dtype)
    total = weights.sum(-1, keepdim=True)
    weights = weights / torch.where(total > 0, total, 1.0)
    return weights.unsqueeze(3 - dim)  # (B, P, 1) or (B, 1, C)


def conditional_transport(
    regions: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor,
    region_log_prior: Tensor | None = None,
    label_log_prior: Tensor | None = None,
    region_weights: Tensor | None = None,
    label_weights: Tensor | None = None,
    rho: float = 0.5,
) -> ConditionalTransport:
    """Bidirectional conditional transport between regions and labels.

    The forward plan moves each region's mass to labels, π→ ∝ q_k·exp(u·v/τ + label log-prior); the backward plan
    moves each label's mass to regions, π← ∝ a_p·exp(u·v/τ + region log-prior). Gradients flow through plans and cost.

    Args:
        regions (`Tensor` of shape (B, P, D)): Region features, any float dtype.
        labels (`Tensor` of shape (B, C, D)): Label features, any float dtype.
        temperature (`float` or scalar `Tensor`): τ > 0; below 1e-6 it counts as 1e-6.
        region_log_prior (`Tensor` of shape (B, P, C), *optional*): Log-prior over regions, for the backward plan.
        label_log_prior (`Tensor` of shape (B, P, C), *optional*): Log-prior over labels, for the forward plan.
        region_weights (`Tensor` of shape (B, P), *optional*): a ≥ 0, normalised here; uniform if not given.
        label_weights (`Tensor` of shape (B, C), *optional*): q ≥ 0, normalised here; uniform if not given. A label
            of weight zero gets no mass. An image with only zeros contributes 0 and counts in the mean.
        rho (`float`, *optional*, defaults to 0.5): ρ, the share of the forward direction.

    Returns:
        `ConditionalTransport`: cost, both plans, and the scalar loss.

    Raises:
        ValueError: Shapes do not fit, temperature or ρ is out of range, or a weight is negative or NaN. Weights are
            checked on the CPU only, since the check would stall a GPU.

    Example:
    ```python
    >>> import torch
    >>> from sct_hf import conditional_transport

    >>> regions, labels = torch.eye(2).unsqueeze(0), torch.eye(2).unsqueeze(0)
    >>> conditional_transport(regions, labels, temperature=0.01).loss.item() < 1e-6
    True
    ```
    """
    _check_arguments(regions, labels, temperature, rho)
    batch, num_regions, num_labels = regions.shape[0], regions.shape[1], labels.shape[1]
    for name, tensor, shape in (
        ("region_log_prior", region_log_prior, (batch, num_regions, num_labels)),
        ("label_log_prior", label_log_prior, (batch, num_regions, num_labels)),
        ("region_weights", region_weights, (batch, num_regions)),
        ("label_weights", label_weights, (batch, num_labels)),
    ):
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but {shape} is needed.")
    for name, weights in (("region_weights", region_weights), ("label_weights", label_weights)):
        if weights is not None and weights.device.type == "cpu" and not torch.compiler.is_compiling():
            wrong = ~(weights >= 0)
            if wrong.any():
                raise ValueError(f"{name} contain {weights[wrong][0].item()}: give weights >= 0.")
    similarity = cosine_similarity(regions, labels)  # (B, P, C)
    a = _normalised(region_weights, similarity, dim=1)  # (B, P, 1), or none
    q = _normalised(label_weights, similarity, dim=2)  # (B, 1, C), or none
    forward_plan = transport_plan(similarity, temperature, label_log_prior, q, dim=2)
    backward_plan = transport_plan(similarity, temperature, region_log_prior, a, dim=1)
    loss = transport_loss(
        similarity,
        temperature=temperature,
        region_log_prior=region_log_prior,
        label_log_prior=label_log_prior,
        region_weights=region_weights,
        label_weights=label_weights,
        rho=rho,
    )
    return ConditionalTransport(1 - similarity, forward_plan, backward_plan, loss)


def _check_arguments(regions: Tensor, labels: Tensor, temperature: float | Tensor, rho: float) -> None:
    if regions.ndim != 3 or labels.ndim != 3 or regions.shape[0] != labels.shape[0]:
        raise ValueError(
            f"regions {tuple(regions.shape)} and labels {tuple(labels.shape)} must be (B, P, D) and (B, C, D)."
        )
    if regions.shape[2] != labels.shape[2]:
        raise ValueError(f"regions are {regions.shape[2]} wide and labels {labels.shape[2]}: project one of them.")
    if isinstance(temperature, Tensor):
        if temperature.numel() != 1:
            raise ValueError(f"temperature has shape {tuple(temperature.shape)}: give one number.")
    elif not temperature > 0:
        raise ValueError(f"temperature={temperature} cannot be used: give a number > 0.")
    if not 0 <= rho <= 1:
        raise ValueError(f"rho={rho} cannot be used: give a number in [0, 1].")


def plan_logits(similarity: Tensor, tau: Tensor, log_prior: Tensor | None) -> Tensor:
    """Log of an unnormalised plan (B, P, C) with uniform weights."""
    logits = similarity / tau
    return logits if log_prior is None else logits + log_prior.to(logits.dtype)


def weighted(logits: Tensor, weights: Tensor | None) -> Tensor:
    """Logits (B, P, C) plus the log of the weights; close to the lowest number for a weight of zero."""
    if weights is None:
        return logits
    unreachable = torch.finfo(logits.dtype).min / 2  # still finite with a logit added
    positive = weights > 0
    return logits + torch.where(positive, torch.where(positive, weights, 1.0).log(), unreachable)


class TransportCost(torch.autograd.Function):
    """ρ·Σ_p a_p c̄→_p + (1 − ρ)·Σ_k q_k c̄←_k of each image, with c̄→_p = Σ_k π→ c and c̄←_k = Σ_p π← c.

    A plan π = softmax(z) has ∂c̄/∂z = π·(c − c̄), which is all that the backward pass needs. It recomputes each plan
    from its log-sums. Missing weights are uniform and take no time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        similarity: Tensor,
        tau: Tensor,
        label_log_prior: Tensor | None,
        region_log_prior: Tensor | None,
        a: Tensor | None,
        q: Tensor | None,
        one_prior: bool,
        rho: float,
        labels_at_once: int,
    ) -> Tensor:
        """Return the cost of each image (B,), for weights a (B, P, 1) and q (B, 1, C) that sum to 1 or are all 0.

        With `one_prior`, `label_log_prior` (B, P, C) is also the log-prior over regions, and the other is ignored.
        """
        batch, _, num_labels = similarity.shape
        forward_sum: Tensor | None = None  # (B, P, 1): log Σ_k exp z→ over the labels so far
        forward_cost = torch.zeros_like(similarity[..., :1])  # (B, P, 1): c̄→ over them
        backward_sum = similarity.new_empty(batch, 1, num_labels)  # (B, 1, C): log Σ_p exp z←
        backward_cost = torch.empty_like(backward_sum)  # (B, 1, C): c̄←
        for k in slices(num_labels, labels_at_once):
            cost = 1 - similarity[..., k]  # (B, P, c), as all that follow
            unweighted = plan_logits(similarity[..., k], tau, _part(label_log_prior, k))
            logits = weighted(unweighted, _part(q, k))
            total = logits.logsumexp(2, keepdim=True)
            if forward_sum is not None:
                total = torch.logaddexp(forward_sum, total)
                forward_cost *= (forward_sum - total).exp()
            forward_cost += _exp(logits - total).mul_(cost).sum(2, keepdim=True)
            forward_sum = total

            if not one_prior:
                unweighted = plan_logits(similarity[..., k], tau, _part(region_log_prior, k))
            logits = weighted(unweighted, a)
            total = logits.logsumexp(1, keepdim=True)
            backward_sum[..., k] = total
            backward_cost[..., k] = _exp(logits - total).mul_(cost).sum(1, keepdim=True)
        ctx.save_for_backward(
            *(similarity, tau, label_log_prior, region_log_prior, a, q),
            *(forward_sum, forward_cost, backward_sum, backward_cost),
        )
        ctx.one_prior, ctx.rho, ctx.labels_at_once = one_prior, rho, labels_at_once
        forward_share, backward_share = _shares(similarity, a, q, rho)
        return (forward_share * forward_cost).sum((1, 2)) + (backward_share * backward_cost).sum((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of similarity, τ, log-priors and weights."""
        similarity, tau, label_log_prior, region_log_prior, a, q, *sums = ctx.saved_tensors
        forward_sum, forward_cost, backward_sum, backward_cost = sums
        scale = grad_output[:, None, None]  # (B, 1, 1)
        forward_share, backward_share = (scale * share for share in _shares(similarity, a, q, ctx.rho))
        d_similarity, d_tau = torch.empty_like(similarity), torch.zeros_like(tau)
        d_label = torch.empty_like(label_log_prior) if ctx.needs_input_grad[2] else None
        d_region = torch.empty_like(region_log_prior) if ctx.needs_input_grad[3] else None
        # By a share of the mass, and below by the plan that it changes.
        d_a = scale * ctx.rho * forward_cost * _reachable(q) if ctx.needs_input_grad[4] else None  # (B, P, 1)
        d_q = scale * (1 - ctx.rho) * backward_cost * _reachable(a) if ctx.needs_input_grad[5] else None  # (B, 1, C)
        for k in slices(similarity.shape[2], ctx.labels_at_once):
            cost = 1 - similarity[..., k]  # (B, P, c), as all that follow
            unweighted = plan_logits(similarity[..., k], tau, _part(label_log_prior, k))
            moved = _exp(weighted(unweighted, _part(q, k)) - forward_sum).mul_(forward_share)
            d_logits = (cost - forward_cost).mul_(moved)
            if d_q is not None:
                d_q[..., k] += d_logits.sum(1, keepdim=True) / _or_one(q[..., k])

            if not ctx.one_prior:
                unweighted = plan_logits(similarity[..., k], tau, _part(region_log_prior, k))
            part = backward_share if q is None else backward_share[..., k]
            moved_back = _exp(weighted(unweighted, a) - backward_sum[..., k]).mul_(part)
            d_logits_back = (cost - backward_cost[..., k]).mul_(moved_back)
            if d_a is not None:
                d_a += d_logits_back.sum(2, keepdim=True) / _or_one(a)

            d_both = d_logits + d_logits_back
            if d_label is not None:
                d_label[..., k] = d_both if ctx.one_prior else d_logits
            if d_region is not None:
                d_region[..., k] = d_logits_back
            d_both = d_both / tau
            if ctx.needs_input_grad[1]:
                d_tau -= (d_both * similarity[..., k]).sum() / tau
            torch.sub(d_both.sub_(moved), moved_back, out=d_similarity[..., k])
        return d_similarity, d_tau, d_label, d_region, d_a, d_q, None, None, None


def _shares(similarity: Tensor, a: Tensor | None, q: Tensor | None, rho: float) -> tuple[Tensor, Tensor]:
    """Weights of c̄→ and c̄←: ρ·a, which broadcasts with (B, P, 1), and (1 − ρ)·q, with (B, 1, C).

    If all label weights are zero, no mass moves to labels; likewise for regions.
    """
    _, num_regions, num_labels = similarity.shape
    from_regions = similarity.new_full((1, 1, 1), 1 / num_regions) if a is None else a
    from_labels = similarity.new_full((1, 1, 1), 1 / num_labels) if q is None else q
    return rho * from_regions * _reachable(q), (1 - rho) * from_labels * _reachable(a)


def _reachable(weights: Tensor | None) -> Tensor | float:
    """1 for an image with a weight above zero, else 0: (B, 1, 1)."""
    return 1.0 if weights is None else (weights > 0).any(2, keepdim=True).any(1, keepdim=True).to(weights.dtype)


def _or_one(weights: Tensor) -> Tensor:
    return torch.where(weights > 0, weights, 1.0)


def _exp(logits: Tensor) -> Tensor:
    """In place; by exp2, because torch's exp takes 30 times as long on the CPU where it underflows."""
    return logits.mul_(_LOG2_E).exp2_()


def slices(count: int, size: int) -> list[slice]:
    """Slices of at most `size` that cover `count` places in order."""
    return [slice(start, start + size) for start in range(0, count, size)]


def _part(log_prior: Tensor | None, labels: slice) -> Tensor | None:
    return None if log_prior is None else log_prior[..., labels]


__all__ = ["ConditionalTransport", "conditional_transport", "cosine_similarity", "full_precision", "outnumbered"]
__all__ += ["plan_logits", "slices", "tau", "transport_loss", "transport_plan", "without_autocast"]
