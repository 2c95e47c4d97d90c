"""Conditional transport against a slow reference: the formulas of the method, written out in plain Python."""

import math

import pytest
import torch
from torch import Tensor

from sct_hf import conditional_transport
from tests.model.transport_reference import assert_same, draw, everything, reference

# --- the formulas ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize(
    "given_names",
    [
        (),
        ("region_log_prior",),
        ("label_log_prior",),
        ("region_weights",),
        ("label_weights",),
        ("region_log_prior", "label_log_prior", "region_weights", "label_weights"),
    ],
    ids=lambda names: "+".join(names) or "plain",
)
def test_equals_the_formulas(given_names, temperature, rho):
    inputs = everything()
    options = {name: inputs[name] for name in given_names} | {"temperature": temperature, "rho": rho}
    result = conditional_transport(inputs["regions"], inputs["labels"], **options)
    assert_same(result, reference(inputs["regions"], inputs["labels"], **options))


def test_rho_is_one_half_unless_given():
    x, f = draw(2, 4, 3), draw(2, 3, 3, seed=1)
    loss = conditional_transport(x, f, temperature=0.1).loss
    torch.testing.assert_close(loss, reference(x, f, temperature=0.1, rho=0.5)[3], rtol=0, atol=1e-12)


def test_a_case_worked_by_hand():
    regions = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]], dtype=torch.float64)
    labels = torch.tensor([[[5.0, 0.0]]], dtype=torch.float64)
    result = conditional_transport(regions, labels, temperature=1.0, rho=0.25)
    e = math.e
    assert result.cost.flatten().tolist() == pytest.approx([0, 1])
    assert result.forward_plan.flatten().tolist() == pytest.approx([1, 1])
    assert result.backward_plan.flatten().tolist() == pytest.approx([e / (e + 1), 1 / (e + 1)])
    assert result.loss.item() == pytest.approx(0.25 * 0.5 + 0.75 / (e + 1))


def test_mass_goes_to_similar_pairs():
    x = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    result = conditional_transport(x, x, temperature=0.1)
    similar = torch.eye(3).bool()
    for plan in (result.forward_plan[0], result.backward_plan[0]):
        assert (plan[similar] > 0.99).all()
        assert (plan[~similar] < 0.01).all()
    assert result.loss < 0.01
    assert conditional_transport(x[:, :1], -x[:, :1], temperature=0.1).loss.item() == pytest.approx(2)


def test_a_step_against_the_gradient_makes_the_loss_smaller():
    x, f = draw(2, 6, 5).requires_grad_(), draw(2, 3, 5, seed=1).requires_grad_()
    before = conditional_transport(x, f, temperature=0.1).loss
    step_x, step_f = torch.autograd.grad(before, (x, f))
    after = conditional_transport(x - 1e-2 * step_x, f - 1e-2 * step_f, temperature=0.1).loss
    assert after < before - 1e-4


# --- marginals and weights ------------------------------------------------------------------------------------------


def test_marginals_sum_to_one():
    inputs = everything()
    result = conditional_transport(**inputs, temperature=0.1)
    ones = torch.ones((), dtype=torch.float64)
    torch.testing.assert_close(result.forward_plan.sum(2), ones.expand(3, 5), rtol=0, atol=1e-12)
    torch.testing.assert_close(result.backward_plan.sum(1), ones.expand(3, 4), rtol=0, atol=1e-12)


def test_uniform_weights_of_any_sum_change_nothing():
    x, f = draw(2, 5, 4), draw(2, 3, 4, seed=1)
    plain = conditional_transport(x, f, temperature=0.1)
    weighted = conditional_transport(
        x, f, temperature=0.1, region_weights=x.new_full((2, 5), 0.2), label_weights=x.new_full((2, 3), 7)
    )
    assert_same(weighted, (plain.cost, plain.forward_plan, plain.backward_plan, plain.loss))


def test_zero_weights_take_no_mass():
    inputs = everything()
    result = conditional_transport(**inputs, temperature=0.1)
    assert (result.forward_plan[1, :, :2] == 0).all()
    assert (result.backward_plan[0, 1, :] == 0).all()


def test_labels_of_zero_weight_are_as_good_as_absent():
    x, f = draw(1, 5, 4), draw(1, 4, 4, seed=1)
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0]], dtype=torch.float64)
    whole = conditional_transport(x, f, temperature=0.1, label_weights=weights)
    part = conditional_transport(x, f[:, 1::2], temperature=0.1, label_weights=weights[:, 1::2])
    torch.testing.assert_close(whole.loss, part.loss, rtol=0, atol=1e-12)
    torch.testing.assert_close(whole.forward_plan[..., 1::2], part.forward_plan, rtol=0, atol=1e-12)


def test_labels_of_zero_weight_get_no_gradient():
    x, f = draw(1, 5, 4).requires_grad_(), draw(1, 4, 4, seed=1).requires_grad_()
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0]], dtype=torch.float64)
    conditional_transport(x, f, temperature=0.1, label_weights=weights).loss.backward()
    assert (f.grad[0, 0::2] == 0).all()
    assert (f.grad[0, 1::2] != 0).any()


@pytest.mark.parametrize("name", ["label_weights", "region_weights"])
def test_a_row_of_zero_weights_adds_nothing_and_counts(name):
    inputs = everything()
    inputs[name][1] = 0
    leaves = [inputs["regions"].requires_grad_(), inputs["labels"].requires_grad_()]
    result = conditional_transport(**inputs, temperature=0.1)
    others = {key: value[[0, 2]] for key, value in inputs.items()}
    expected = conditional_transport(**others, temperature=0.1).loss * 2 / 3
    torch.testing.assert_close(result.loss, expected, rtol=0, atol=1e-12)
    empty, other = result.forward_plan, result.backward_plan
    if name == "region_weights":
        empty, other = other, empty
    assert (empty[1] == 0).all()
    assert other.isfinite().all()
    for gradient in torch.autograd.grad(result.loss, leaves):
        assert gradient.isfinite().all()
        assert (gradient[1] == 0).all()


def test_only_rows_of_zero_weights():
    x, f = draw(2, 3, 4).requires_grad_(), draw(2, 3, 4, seed=1).requires_grad_()
    loss = conditional_transport(x, f, temperature=0.1, label_weights=x.new_zeros(2, 3)).loss
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, (x, f)):
        assert (gradient == 0).all()


def test_a_very_low_prior_takes_the_mass_away():
    x, f = draw(1, 4, 3), draw(1, 3, 3, seed=1)
    low = torch.zeros(1, 4, 3, dtype=torch.float64)
    low[0, :, 2] = -1e4
    assert (conditional_transport(x, f, temperature=0.1, label_log_prior=low).forward_plan[..., 2] == 0).all()
    low = torch.zeros(1, 4, 3, dtype=torch.float64)
    low[0, 0] = -1e4
    assert (conditional_transport(x, f, temperature=0.1, region_log_prior=low).backward_plan[:, 0] == 0).all()


# --- gradients ------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_finite_differences():
    inputs = everything(num_images=2, num_regions=3, num_labels=3, width=4)
    names = ["regions", "labels", "region_log_prior", "label_log_prior"]
    leaves = [inputs[name].requires_grad_() for name in names]
    leaves.append(torch.tensor(0.3, dtype=torch.float64, requires_grad=True))

    def run(*values: Tensor):
        given_inputs = dict(zip(names, values, strict=False))
        result = conditional_transport(
            **given_inputs,
            temperature=values[-1],
            region_weights=inputs["region_weights"],
            label_weights=inputs["label_weights"],
            rho=0.3,
        )
        return result.cost, result.forward_plan, result.backward_plan, result.loss

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("temperature", [0.003, 0.01, 0.1])
def test_gradient_of_a_small_temperature(temperature):
    x, f = draw(2, 5, 4), draw(2, 3, 4, seed=1)
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    conditional_transport(x, f, temperature=tau).loss.backward()
    step = 1e-6 * temperature
    difference = (
        reference(x, f, temperature=temperature + step)[3] - reference(x, f, temperature=temperature - step)[3]
    )
    assert tau.grad.item() == pytest.approx(difference.item() / (2 * step), rel=1e-4, abs=1e-6)


# --- wrong input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("regions", (2, 5, 7)),
        ("regions", (3, 5, 4)),
        ("regions", (5, 4)),
        ("labels", (3, 4)),
        ("region_log_prior", (2, 3, 5)),
        ("label_log_prior", (2, 5, 1)),
        ("region_weights", (2, 3)),
        ("label_weights", (3,)),
    ],
)
def test_wrong_shapes_are_named(name, shape):
    inputs = {"regions": draw(2, 5, 4), "labels": draw(2, 3, 4), name: torch.ones(shape, dtype=torch.float64)}
    with pytest.raises(ValueError, match=name):
        conditional_transport(**inputs, temperature=0.1)


@pytest.mark.parametrize("temperature", [0.0, -0.1, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        conditional_transport(draw(1, 2, 3), draw(1, 2, 3), temperature=temperature)


@pytest.mark.parametrize("rho", [-0.1, 1.1, math.nan])
def test_rho_outside_0_to_1_is_refused(rho):
    with pytest.raises(ValueError, match="rho"):
        conditional_transport(draw(1, 2, 3), draw(1, 2, 3), temperature=0.1, rho=rho)
