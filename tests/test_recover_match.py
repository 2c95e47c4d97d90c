"""Sinkhorn's plans, and the matching of Recover and Match that uses them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linprog
from torch import Tensor

from sct_hf.peers.recover_match import RecoverMatchHead
from sct_hf.peers.sinkhorn import sinkhorn_plan

PRESENT = torch.tensor([[True, False, True], [False, True, False]])


def problem(batch: int = 2, regions: int = 6, labels: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(batch, regions, labels, generator=generator).double()
    masses = (torch.rand(batch, count, generator=generator).double() + 0.1 for count in (regions, labels))
    a, b = (mass / mass.sum(1, keepdim=True) for mass in masses)
    return cost, a, b


def test_sinkhorn_equals_the_plain_iterations() -> None:
    cost, a, b = problem()
    found = sinkhorn_plan(cost, a, b, epsilon=0.1, iterations=7)
    for image in range(len(cost)):
        kernel = np.exp(-cost[image].numpy() / 0.1)
        u, v = np.ones(6), np.ones(3)
        for _ in range(7):
            u = a[image].numpy() / (kernel @ v)
            v = b[image].numpy() / (kernel.T @ u)
        np.testing.assert_allclose(found[image].numpy(), u[:, None] * kernel * v[None], rtol=1e-9)


def test_a_sharp_plan_costs_as_little_as_linear_programming_finds() -> None:
    cost, a, b = problem()
    found = sinkhorn_plan(cost, a, b, epsilon=2e-3, iterations=3000)
    for image in range(len(cost)):
        sums = [np.kron(np.eye(6), np.ones(3)), np.kron(np.ones(6), np.eye(3))]
        masses = np.concatenate((a[image].numpy(), b[image].numpy()))
        best = linprog(cost[image].numpy().ravel(), A_eq=np.vstack(sums), b_eq=masses, method="highs").fun
        assert best <= float((found[image] * cost[image]).sum()) + 1e-6
        assert float((found[image] * cost[image]).sum()) == pytest.approx(best, abs=5e-3)


def test_sums_of_the_plan_are_the_masses() -> None:
    cost, a, b = problem(regions=49, labels=20)
    found = sinkhorn_plan(cost.float(), a.float(), b.float(), epsilon=0.1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(1), b.float(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.sum(2), a.float(), atol=1e-4, rtol=1e-3)


def test_gradients_of_the_iterations_are_right_and_finite_where_the_plain_ones_underflow() -> None:
    cost, a, b = problem()
    assert torch.autograd.gradcheck(
        lambda c, m: sinkhorn_plan(c, m, b, epsilon=0.3, iterations=5), (cost.requires_grad_(), a.requires_grad_())
    )
    sharp = (100 * cost.detach()).bfloat16().requires_grad_()
    assert (-sharp.detach() / 0.1).float().exp().sum(2).min() == 0  # of a region with only dear labels
    with torch.autocast("cpu", torch.bfloat16):
        plan = sinkhorn_plan(sharp, a.detach().bfloat16(), b.bfloat16(), epsilon=0.1)
        (plan * plan).sum().backward()
    assert plan.dtype == torch.float32
    assert plan.isfinite().all()
    assert sharp.grad is not None
    assert sharp.grad.isfinite().all()


@pytest.fixture
def case() -> tuple[RecoverMatchHead, Tensor, Tensor]:
    torch.manual_seed(0)
    head = RecoverMatchHead(5, 3, 4, num_classes=7, hidden_size=8).double()
    head.set_classes(torch.randn(7, 5), torch.rand(3, 7) * 0.3)
    with torch.no_grad():
        head.bias.normal_()
    return head, torch.randn(2, 5, 2, 3).double(), torch.randn(3, 4).double()


def by_hand(head: RecoverMatchHead, features: Tensor, text: Tensor, prior: Any = None) -> Tensor:
    """Logits from numpy's plain iterations; with a log-prior (P, C) of each image, those of training."""
    rows = []
    labels = F.normalize(head.label_proj(text), dim=1)
    for image in range(len(features)):
        regions = head.region_proj(features[image].flatten(1).T)
        near = (F.normalize(regions, dim=1) @ labels.T).detach().numpy()  # (P, C)
        whole = (F.normalize(regions.mean(0), dim=0) @ labels.T).detach().numpy()
        scale = head.log_scale.exp().item()
        mass = np.exp(scale * near)
        cost, epsilon = 1 - mass / mass.sum(1, keepdims=True), 0.1
        if prior is not None:
            cost, epsilon = cost - 0.05 * prior[image], 0.15
        a = np.exp(near.max(1) / 0.1)
        a, b = a / a.sum(), np.full(3, 1 / 3)
        kernel, v = np.exp(-cost / epsilon), np.ones(3)
        for _ in range(50):
            u = a / (kernel @ v)
            v = b / (kernel.T @ u)
        plan = u[:, None] * kernel * v[None]
        rows.append(scale * (3 * (plan * near).sum(0) + whole) / 2 + head.bias.detach().numpy())
    return torch.tensor(np.stack(rows))


def test_scores_are_cosines_in_the_plan_and_of_the_mean_region(case) -> None:
    head, features, text = case
    torch.testing.assert_close(head(features, text), by_hand(head, features, text))


def test_the_teacher_is_the_backbones_classifier_on_each_region(case) -> None:
    head, features, _ = case
    found = head.teacher(features, PRESENT)  # (B, P, C)
    shares = torch.zeros(2, 6, 3, dtype=torch.float64)
    for image, place in ((image, place) for image in range(2) for place in range(6)):
        region = features[image, :, place // 3, place % 3]
        evidence = []
        for label in range(3):
            mass = [math.exp(float(vector @ region)) for vector in head.class_vectors]
            held = head.label_classes[label].tolist()
            seen = sum(s * m for s, m in zip(held, mass, strict=True)) / sum(mass)
            chance = sum(held) / 7
            evidence.append(math.log(seen / (1 - seen)) - math.log(chance / (1 - chance)) / 2)
        shares[image, place] = 20 * torch.tensor(evidence).double().softmax(0)
    shares = shares.softmax(1)
    torch.testing.assert_close(found[0, :, 0], shares[0, :, 0])
    torch.testing.assert_close(found.sum(1)[PRESENT], torch.ones(3).double())
    absent = found.transpose(1, 2)[~PRESENT]  # (labels, P)
    torch.testing.assert_close(absent, shares.min().expand_as(absent))


def test_loss_contrasts_the_labels_that_are_shown_by_the_constrained_plan(case) -> None:
    head, features, text = case
    prior = head.teacher(features, PRESENT).clamp(min=1e-6).log().numpy()
    logits = by_hand(head, features, text, prior)
    total = sum(math.exp(logit) for logit in logits.flatten().tolist())
    shown = [logits[0, 0], logits[0, 2], logits[1, 1]]
    expected = -sum(math.log(math.exp(logit) / total) for logit in shown) / 3
    found = head.transport_loss(features, text, PRESENT.double())
    assert found.item() == pytest.approx(expected, abs=1e-9)
    assert not torch.allclose(logits, by_hand(head, features, text), atol=1e-3)
    assert head.transport_loss(features, text, torch.zeros(2, 3).double()) == 0


def test_the_plan_has_no_gradient_and_half_precision_stays_finite(case) -> None:
    head, features, text = (each.float() for each in case)
    assert not head.plan(torch.rand(2, 6, 3, requires_grad=True)).requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        loss = head(features, text).sum() + head.transport_loss(features, text, PRESENT.float())
    loss.backward()
    for name, weight in head.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name
