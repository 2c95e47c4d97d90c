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
    """Logits (B, P, C) with the log of the weights added; the lowest finite number where a weight is zero."""
    if weights is None:
        return logits
    positive = weights > 0
    log_weights = torch.where(positive, weights, 1.0).log()
    return torch.where(positive, logits + log_weights, torch.finfo(logits.dtype).min)


class TransportCost(torch.autograd.Function):
    """ρ·Σ_p a_p c̄→_p + (1 − ρ)·Σ_k q_k c̄←_k of each image, with c̄→_p = Σ_k π→ c and c̄←_k = Σ_p π← c.

    A plan π = softmax(z) has ∂c̄/∂z = π·(c − c̄), all that the backward pass needs; each plan is made anew from its
    logarithmic sums.
    """

    @staticmethod
    def forward(
        ctx: Any,
        similarity: Tensor,
        tau: Tensor,
        label_log_prior: Tensor | None,
        region_log_prior: Tensor | None,
        a: Tensor,
        q: Tensor,
        one_prior: bool,
        rho: float,
        labels_at_once: int,
    ) -> Tensor:
        """Return the cost of each image (B,), from weights a (B, P, 1) and q (B, 1, C) that sum to 1 or are all 0.

        With `one_prior`, `label_log_prior` (B, P, C) is also the log-prior over regions, and the other is not looked
        at.
        """
        lowest = torch.finfo(similarity.dtype).min
        forward_sum = torch.full_like(similarity[..., :1], lowest)  # (B, P, 1): log Σ_k exp z→ over the labels so far
        forward_cost = torch.zeros_like(forward_sum)  # (B, P, 1): c̄→ over the labels so far
        backward_sum, backward_cost = torch.empty_like(q), torch.empty_like(q)  # (B, 1, C): log Σ_p exp z←, c̄←
        for k in _chunks(similarity.shape[2], labels_at_once):
            cost = 1 - similarity[..., k]  # (B, P, c), as all that follow
            unweighted = plan_logits(similarity[..., k], tau, _part(label_log_prior, k))
            logits = weighted(unweighted, q[..., k])
            total = torch.logaddexp(forward_sum, logits.logsumexp(2, keepdim=True))
            here = (_exp(logits - total) * cost * (q[..., k] > 0)).sum(2, keepdim=True)
            forward_cost = forward_cost * (forward_sum - total).exp() + here
            forward_sum = total

            if not one_prior:
                unweighted = plan_logits(similarity[..., k], tau, _part(region_log_prior, k))
            logits = weighted(unweighted, a)
            total = logits.logsumexp(1, keepdim=True)
            backward_sum[..., k] = total
            backward_cost[..., k] = (_exp(logits - total) * cost * (a > 0)).sum(1, keepdim=True)
        ctx.save_for_backward(
            *(similarity, tau, label_log_prior, region_log_prior, a, q),
            *(forward_sum, forward_cost, backward_sum, backward_cost),
        )
        ctx.one_prior, ctx.rho, ctx.labels_at_once = one_prior, rho, labels_at_once
        return (rho * a * forward_cost).sum((1, 2)) + ((1 - rho) * q * backward_cost).sum((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of similarity, τ, log-priors and weights."""
        similarity, tau, label_log_prior, region_log_prior, a, q, *sums = ctx.saved_tensors
        forward_sum, forward_cost, backward_sum, backward_cost = sums
        scale = grad_output[:, None, None]  # (B, 1, 1)
        forward_share, backward_share = ctx.rho * scale, (1 - ctx.rho) * scale
        d_similarity, d_tau = torch.empty_like(similarity), torch.zeros_like(tau)
        d_label = torch.empty_like(label_log_prior) if ctx.needs_input_grad[2] else None
        d_region = torch.empty_like(region_log_prior) if ctx.needs_input_grad[3] else None
        d_a, d_q = forward_share * forward_cost, backward_share * backward_cost  # (B, P, 1), (B, 1, C)
        for k in _chunks(similarity.shape[2], ctx.labels_at_once):
            cost = 1 - similarity[..., k]  # (B, P, c), as all that follow
            unweighted = plan_logits(similarity[..., k], tau, _part(label_log_prior, k))
            logits = weighted(unweighted, q[..., k])
            moved = _exp(logits - forward_sum) * (forward_share * a * (q[..., k] > 0))
            d_logits = moved * (cost - forward_cost)
            d_q[..., k] += d_logits.sum(1, keepdim=True) / torch.where(q[..., k] > 0, q[..., k], 1.0)

            if not ctx.one_prior:
                unweighted = plan_logits(similarity[..., k], tau, _part(region_log_prior, k))
            logits = weighted(unweighted, a)
            moved_back = _exp(logits - backward_sum[..., k]) * (backward_share * q[..., k] * (a > 0))
            d_logits_back = moved_back * (cost - backward_cost[..., k])
            d_a += d_logits_back.sum(2, keepdim=True) / torch.where(a > 0, a, 1.0)

            d_both = d_logits + d_logits_back
            if d_label is not None:
                d_label[..., k] = d_both if ctx.one_prior else d_logits
            if d_region is not None:
                d_region[..., k] = d_logits_back
            d_both = d_both / tau
            d_tau -= (d_both * similarity[..., k]).sum() / tau
            d_similarity[..., k] = d_both - moved - moved_back
        return d_similarity, d_tau, d_label, d_region, d_a, d_q, None, None, None


def _exp(logits: Tensor) -> Tensor:
    """In place; by exp2, because torch's exp takes 30 times as long on the CPU where it underflows."""
    return logits.mul_(_LOG2_E).exp2_()


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _part(log_prior: Tensor | None, labels: slice) -> Tensor | None:
    return None if log_prior is None else log_prior[..., labels]


__all__ = ["TransportCost", "plan_logits", "weighted"]
