"""The asymmetric loss against PyTorch's binary cross-entropy and a slow reference written from its formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sct_hf import asymmetric_loss

UNKNOWN = [-1.0, math.nan]


def known(target: float) -> bool:
    return not (math.isnan(target) or target == -1)


def reference_entry(z: float, y: float, gamma_neg: float, gamma_pos: float, clip: float) -> tuple[float, float]:
    """Loss of one known entry and its derivative by the logit, the focal weight held constant."""
    p = 1 / (1 + math.exp(-z))
    p_m = max(p - clip, 0.0)
    p_t = y * p + (1 - y) * (1 - p_m)
    weight = (1 - p_t) ** (y * gamma_pos + (1 - y) * gamma_neg)
    loss = -weight * (y * math.log(p) + (1 - y) * math.log(1 - p_m))
    slope_of_p_m = p * (1 - p) if p > clip else 0.0
    return loss, -weight * (y * (1 - p) - (1 - y) * slope_of_p_m / (1 - p_m))


def reference(logits: Tensor, targets: Tensor, *, gamma_neg=2.0, gamma_pos=0.0, clip=0.0) -> tuple[Tensor, Tensor]:
    """Losses (B, C) and derivatives (B, C), both 0 where the target is unknown."""
    losses, slopes = torch.zeros(logits.shape, dtype=torch.float64), torch.zeros(logits.shape, dtype=torch.float64)
    for i in range(logits.shape[0]):
        for k in range(logits.shape[1]):
            if known(targets[i, k].item()):
                losses[i, k], slopes[i, k] = reference_entry(
                    logits[i, k].item(), targets[i, k].item(), gamma_neg, gamma_pos, clip
                )
    return losses, slopes


def draw_logits(seed: int = 0, shape: tuple[int, int] = (5, 7)) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_targets(kind: str, seed: int = 1, shape: tuple[int, int] = (5, 7)) -> Tensor:
    """Random targets: "hard", "soft", or either with unknown entries ("hard partial", "soft partial")."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.rand(*shape, generator=generator, dtype=torch.float64)
    if kind.startswith("hard"):
        targets = targets.round()
    if kind.endswith("partial"):
        hidden = torch.rand(*shape, generator=generator)
        targets = targets.masked_fill(hidden < 0.2, -1.0).masked_fill(hidden > 0.8, math.nan)
    return targets


KINDS = ["hard", "soft", "hard partial", "soft partial"]


# --- the formula ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_without_focus_it_is_binary_cross_entropy(kind, reduction):
    logits, targets = draw_logits().requires_grad_(), draw_targets(kind)
    is_known = (targets >= 0) & (targets <= 1)
    expected = F.binary_cross_entropy_with_logits(logits[is_known], targets[is_known], reduction=reduction)
    loss = asymmetric_loss(logits, targets, gamma_neg=0, gamma_pos=0, reduction=reduction)
    if reduction == "none":
        assert loss.shape == logits.shape
        assert (loss[~is_known] == 0).all()
        loss = loss[is_known]
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    gradient, expected_gradient = (torch.autograd.grad(value.sum(), logits)[0] for value in (loss, expected))
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip", [0.0, 0.05])
@pytest.mark.parametrize(("gamma_neg", "gamma_pos"), [(2.0, 0.0), (4.0, 1.0), (0.0, 2.0), (1.5, 0.5)])
def test_equals_the_formula_in_value_and_gradient(gamma_neg, gamma_pos, clip, kind):
    options = {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip}
    logits, targets = draw_logits().requires_grad_(), draw_targets(kind)
    losses, slopes = reference(logits, targets, **options)
    loss = asymmetric_loss(logits, targets, **options, reduction="none")
    torch.testing.assert_close(loss, losses, rtol=1e-10, atol=1e-12)
    # Equal slopes show that the focal weight carries no gradient.
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), logits)[0], slopes, rtol=1e-10, atol=1e-12)


def test_defaults_are_gamma_neg_2_gamma_pos_0_no_clip_and_the_mean():
    logits, targets = draw_logits(), draw_targets("soft partial")
    explicit = asymmetric_loss(logits, targets, gamma_neg=2.0, gamma_pos=0.0, clip=0.0, reduction="mean")
    assert torch.equal(asymmetric_loss(logits, targets), explicit)


def test_a_case_worked_by_hand():
    # p = 1/2 everywhere: a positive costs log 2, a negative a quarter of it (γ₋ = 2).
    loss = asymmetric_loss(torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 0.0, -1.0]]))
    assert loss.item() == pytest.approx(math.log(2) * (1 + 0.25 + 0.25) / 3)


def test_clip_silences_easy_negatives():
    logits = torch.tensor([[-4.0, 4.0]], requires_grad=True)  # p = 0.018, 0.982
    loss = asymmetric_loss(logits, torch.zeros(1, 2), clip=0.05, reduction="none")
    loss.sum().backward()
    assert loss[0, 0] == 0
    assert logits.grad[0, 0] == 0
    assert loss[0, 1] > 0
    assert logits.grad[0, 1] > 0


@pytest.mark.parametrize("kind", ["soft", "soft partial"])
def test_gradcheck_where_the_weight_is_constant(kind):
    targets = draw_targets(kind)
    assert torch.autograd.gradcheck(
        lambda z: asymmetric_loss(z, targets, gamma_neg=0, gamma_pos=0), draw_logits().requires_grad_()
    )


# --- settings of each label ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_positive_weights_are_those_of_pytorch(kind, reduction):
    logits, targets = draw_logits().requires_grad_(), draw_targets(kind)
    weight = torch.linspace(0, 5, 7, dtype=torch.float64)
    is_known = (targets >= 0) & (targets <= 1)
    whole = F.binary_cross_entropy_with_logits(
        logits, targets.nan_to_num(0).clip(0), pos_weight=weight, reduction="none"
    )
    expected = whole[is_known].mean() if reduction == "mean" else whole[is_known].sum()
    loss = asymmetric_loss(logits, targets, gamma_neg=0, gamma_pos=0, positive_weight=weight, reduction=reduction)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_settings_of_each_label_are_those_of_its_column(kind, clip):
    logits, targets = draw_logits().requires_grad_(), draw_targets(kind)
    gamma_neg = torch.tensor([0, 0.5, 1, 2, 4, 2, 0], dtype=torch.float64)
    gamma_pos, shift = gamma_neg.flip(0) / 2, torch.linspace(-5, 3, 7, dtype=torch.float64)
    loss = asymmetric_loss(
        logits, targets, gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip, logit_shift=shift, reduction="none"
    )
    for label in range(7):
        exponents = {"gamma_neg": gamma_neg[label].item(), "gamma_pos": gamma_pos[label].item(), "clip": clip}
        losses, slopes = reference(logits[:, [label]] + shift[label], targets[:, [label]], **exponents)
        torch.testing.assert_close(loss[:, [label]], losses, rtol=1e-9, atol=1e-12)
        (gradient,) = torch.autograd.grad(loss[:, label].sum(), logits, retain_graph=True)
        torch.testing.assert_close(gradient[:, [label]], slopes, rtol=1e-9, atol=1e-12)


def test_a_shift_is_no_part_of_an_unknown_entry():
    logits = torch.zeros(1, 2, requires_grad=True)
    loss = asymmetric_loss(logits, torch.tensor([[1.0, math.nan]]), logit_shift=torch.tensor([0.0, 1e30]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(math.log(2))
    assert gradient.tolist() == [[-0.5, 0.0]]


# --- unknown targets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hard partial", "soft partial"])
def test_the_mean_divides_by_the_known_entries(kind):
    logits, targets = draw_logits(), draw_targets(kind)
    losses, _ = reference(logits, targets)
    is_known = (targets >= 0) & (targets <= 1)
    assert 0 < is_known.sum() < is_known.numel()
    mean, total = (asymmetric_loss(logits, targets, reduction=reduction) for reduction in ("mean", "sum"))
    torch.testing.assert_close(total, losses.sum(), rtol=1e-10, atol=0)
    torch.testing.assert_close(mean, losses.sum() / is_known.sum(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("unknown", UNKNOWN)
@pytest.mark.parametrize("clip", [0.0, 0.05])
@pytest.mark.parametrize("hidden_logit", [0.3, 1e4, -1e4])
def test_unknown_entries_give_exactly_no_gradient(unknown, clip, hidden_logit):
    logits = torch.tensor([[1.0, hidden_logit, -2.0]], requires_grad=True)
    loss = asymmetric_loss(logits, torch.tensor([[1.0, unknown, 0.0]]), clip=clip, gamma_pos=1.0)
    (gradient,) = torch.autograd.grad(loss, logits)
    alone = asymmetric_loss(logits[:, ::2], torch.tensor([[1.0, 0.0]]), clip=clip, gamma_pos=1.0)
    torch.testing.assert_close(loss, alone, rtol=1e-6, atol=0)
    assert gradient[0, 1].item() == 0
    assert gradient.isfinite().all()
    assert (gradient[0, ::2] != 0).all()


@pytest.mark.parametrize("unknown", UNKNOWN)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nothing_known_costs_nothing(unknown, reduction):
    logits = draw_logits().requires_grad_()
    loss = asymmetric_loss(logits, torch.full(logits.shape, unknown, dtype=torch.float64), reduction=reduction)
    assert (loss == 0).all()
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (gradient == 0).all()


# --- number formats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("clip", [0.0, 0.05])
@pytest.mark.parametrize("gammas", [(0.0, 0.0), (2.0, 0.0), (4.0, 1.0), (0.5, 0.5)])
def test_extreme_logits_stay_finite(dtype, reduction, clip, gammas):
    row = torch.tensor([1e4, -1e4, 100.0, -100.0, 20.0, -20.0, 0.0])
    logits = row.repeat(5, 1).to(dtype).requires_grad_()
    targets = torch.tensor([1.0, 0.0, 0.5, -1.0, math.nan])[:, None].expand(5, 7)
    gamma_neg, gamma_pos = gammas
    options = {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip, "reduction": reduction}
    loss = asymmetric_loss(logits, targets, **options)
    assert loss.isfinite().all()
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.isfinite().all()


def test_a_wrong_extreme_logit_costs_its_size():
    logits = torch.tensor([[1e4, -1e4]], dtype=torch.float16)
    loss = asymmetric_loss(logits, torch.tensor([[0.0, 1.0]]), reduction="none")
    torch.testing.assert_close(loss.double(), torch.full((1, 2), 1e4, dtype=torch.float64), rtol=1e-3, atol=0)
    right = asymmetric_loss(logits, torch.tensor([[1.0, 0.0]]), reduction="none")
    assert (right == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_half_precision_logits_lose_nothing_but_their_own_rounding(dtype, clip):
    logits, targets = draw_logits().to(dtype), draw_targets("soft partial")
    losses, _ = reference(logits, targets, clip=clip)
    loss = asymmetric_loss(logits, targets, clip=clip, reduction="none")
    torch.testing.assert_close(loss.double(), losses, rtol=1e-4, atol=1e-5)


def test_many_entries_in_float16_sum_without_overflow():
    logits = torch.full((64, 80), 100.0, dtype=torch.float16)
    total = asymmetric_loss(logits, torch.zeros(64, 80), gamma_neg=0, reduction="sum")
    assert total.item() == pytest.approx(64 * 80 * 100, rel=1e-3)


def test_autocast_changes_nothing():
    logits, targets = draw_logits().float(), draw_targets("soft partial").float()
    plain = asymmetric_loss(logits, targets, clip=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(asymmetric_loss(logits, targets, clip=0.05), plain)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bool])
def test_targets_of_any_number_format(dtype):
    logits, targets = draw_logits(), draw_targets("hard")
    expected = asymmetric_loss(logits, targets)
    torch.testing.assert_close(asymmetric_loss(logits, targets.to(dtype)), expected, rtol=0, atol=1e-12)


# --- properties -----------------------------------------------------------------------------------------------------

target_values = st.one_of(st.floats(0, 1, width=32), st.sampled_from(UNKNOWN))
entries = st.lists(st.tuples(st.floats(-1e4, 1e4, width=32), target_values), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(entries, st.floats(0, 5), st.floats(0, 5), st.sampled_from([0.0, 0.05, 0.2]))
def test_losses_are_finite_and_not_negative(pairs, gamma_neg, gamma_pos, clip):
    logits = torch.tensor([[z for z, _ in pairs]], requires_grad=True)
    targets = torch.tensor([[y for _, y in pairs]])
    loss = asymmetric_loss(logits, targets, gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip, reduction="none")
    assert loss.isfinite().all()
    assert (loss >= 0).all()
    assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(entries)
def test_both_marks_of_an_unknown_target_mean_the_same(pairs):
    logits = torch.tensor([[z for z, _ in pairs]])
    targets = torch.tensor([[y for _, y in pairs]])
    as_nan = targets.masked_fill(targets == -1, math.nan)
    assert torch.equal(asymmetric_loss(logits, as_nan), asymmetric_loss(logits, as_nan.nan_to_num(-1.0)))


# --- wrong input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 1), (2, 4), (2, 3, 1)])
def test_targets_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        asymmetric_loss(torch.zeros(2, 3), torch.zeros(shape))


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction"):
        asymmetric_loss(torch.zeros(2, 3), torch.zeros(2, 3), reduction="average")
