"""The cost of conditional transport in chunks of labels, and its gradient worked out by hand (ours)."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_LOG2_E = math.log2(math.e)


def plan_logits(similarity: Tensor, tau: Tensor, log_prior: Tensor | None) -> Tensor:
    """Log of an unnormalised plan (B, P, C) of uniform weights."""
    logits = similarity / tau
    return logits if log_prior is None else logits + log_prior.to(logits.dtype)


def weighted(logits: Tensor, weights: Tensor | None) -> Tensor:
    """Logits (B, P, C) with the log of the weights added; a number near the lowest where a weight is zero."""
    if weights is None:
        return logits
    unreachable = torch.finfo(logits.dtype).min / 2  # still finite with a logit added
    positive = weights > 0
    return logits + torch.where(positive, torch.where(positive, weights, 1.0).log(), unreachable)


class TransportCost(torch.autograd.Function):
    """ρ·Σ_p a_p c̄→_p + (1 − ρ)·Σ_k q_k c̄←_k of each image, with c̄→_p = Σ_k π→ c and c̄←_k = Σ_p π← c.

    A plan π = softmax(z) has ∂c̄/∂z = π·(c − c̄), all that the backward pass needs; each plan is made anew from its
    logarithmic sums. Weights that are not given are uniform, and cost nothing to apply.
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
        """Return the cost of each image (B,), from weights a (B, P, 1) and q (B, 1, C) that sum to 1 or are all 0.

        With `one_prior`, `label_log_prior` (B, P, C) is also the log-prior over regions, and the other is not looked
        at.
        """
        batch, _, num_labels = similarity.shape
        forward_sum: Tensor | None = None  # (B, P, 1): log Σ_k exp z→ over the labels so far
        forward_cost = torch.zeros_like(similarity[..., :1])  # (B, P, 1): c̄→ over them
        backward_sum = similarity.new_empty(batch, 1, num_labels)  # (B, 1, C): log Σ_p exp z←
        backward_cost = torch.empty_like(backward_sum)  # (B, 1, C): c̄←
        for k in _chunks(num_labels, labels_at_once):
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
        for k in _chunks(similarity.shape[2], ctx.labels_at_once):
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
    """What c̄→ and c̄← count for: ρ·a, broadcast with (B, P, 1), and (1 − ρ)·q, with (B, 1, C).

    Where no label can be reached nothing is moved to any, and likewise for regions.
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


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _part(log_prior: Tensor | None, labels: slice) -> Tensor | None:
    return None if log_prior is None else log_prior[..., labels]


__all__ = ["TransportCost", "plan_logits", "weighted"]
