"""Conditional transport against a slow reference: the formulas of the method, written out in plain Python."""

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from sct_hf import conditional_transport

Rows = list[list[float]]


def unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length > 0 else [0.0 for _ in vector]


def shares(exponents: list[float], weights: list[float]) -> list[float]:
    """weights·exp(exponents), normalised to sum 1."""
    top = max(e for e, w in zip(exponents, weights, strict=True) if w > 0)
    masses = [w * math.exp(e - top) if w > 0 else 0.0 for e, w in zip(exponents, weights, strict=True)]
    return [mass / sum(masses) for mass in masses]


def reference_image(
    regions: Rows,
    labels: Rows,
    temperature: float,
    region_log_prior: Rows | None,
    label_log_prior: Rows | None,
    region_weights: list[float] | None,
    label_weights: list[float] | None,
    rho: float,
) -> tuple[Rows, Rows, Rows, float]:
    """Cost, forward plan, backward plan (each P x C) and loss of one image; no plan (NaN) where all weights are 0."""
    num_regions, num_labels = len(regions), len(labels)
    u, v = [unit(x) for x in regions], [unit(f) for f in labels]
    a = region_weights or [1.0] * num_regions
    q = label_weights or [1.0] * num_labels
    if sum(a) == 0 or sum(q) == 0:
        nothing = [[math.nan] * num_labels for _ in range(num_regions)]
        return nothing, nothing, nothing, 0.0
    a, q = [w / sum(a) for w in a], [w / sum(q) for w in q]
    dot = [
        [sum(s * t for s, t in zip(u[p], v[k], strict=True)) for k in range(num_labels)] for p in range(num_regions)
    ]
    cost = [[1 - dot[p][k] for k in range(num_labels)] for p in range(num_regions)]

    forward = []
    for p in range(num_regions):
        prior = label_log_prior[p] if label_log_prior else [0.0] * num_labels
        forward.append(shares([dot[p][k] / temperature + prior[k] for k in range(num_labels)], q))
    backward = [[0.0] * num_labels for _ in range(num_regions)]
    for k in range(num_labels):
        prior = [row[k] for row in region_log_prior] if region_log_prior else [0.0] * num_regions
        column = shares([dot[p][k] / temperature + prior[p] for p in range(num_regions)], a)
        for p in range(num_regions):
            backward[p][k] = column[p]

    loss = 0.0
    for p in range(num_regions):
        for k in range(num_labels):
            loss += rho * a[p] * forward[p][k] * cost[p][k] + (1 - rho) * q[k] * backward[p][k] * cost[p][k]
    return cost, forward, backward, loss


def reference(regions: Tensor, labels: Tensor, *, temperature: float, rho: float = 0.5, **optional: Tensor | None):
    """`reference_image` over the batch, the loss its mean."""

    def nested(name: str, image: int):
        value = optional.get(name)
        return None if value is None else value[image].double().tolist()

    images = [
        reference_image(
            regions[i].double().tolist(),
            labels[i].double().tolist(),
            temperature,
            nested("region_log_prior", i),
            nested("label_log_prior", i),
            nested("region_weights", i),
            nested("label_weights", i),
            rho,
        )
        for i in range(len(regions))
    ]
    cost, forward, backward, losses = (
        torch.tensor([image[n] for image in images], dtype=torch.float64) for n in range(4)
    )
    return cost, forward, backward, losses.mean()


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_same(result, expected, atol: float = 1e-12) -> None:
    for value, reference_value in zip(
        (result.cost, result.forward_plan, result.backward_plan, result.loss), expected, strict=True
    ):
        assert value.shape == reference_value.shape
        torch.testing.assert_close(value.double(), reference_value, rtol=0, atol=atol)


def everything(num_images: int = 3, num_regions: int = 5, num_labels: int = 4, width: int = 6) -> dict[str, Tensor]:
    """Random inputs with both priors and both weights, some weights 0."""
    region_weights = draw(num_images, num_regions, seed=5).abs()
    label_weights = draw(num_images, num_labels, seed=6).abs()
    region_weights[0, 1] = 0
    label_weights[1, :2] = 0
    return {
        "regions": draw(num_images, num_regions, width, seed=1),
        "labels": draw(num_images, num_labels, width, seed=2),
        "region_log_prior": draw(num_images, num_regions, num_labels, seed=3).log_softmax(1),
        "label_log_prior": draw(num_images, num_regions, num_labels, seed=4).log_softmax(2),
        "region_weights": region_weights,
        "label_weights": label_weights,
    }


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


# --- where numbers get extreme --------------------------------------------------------------------------------------


def assert_finite(inputs: dict, temperature: float | Tensor):
    leaves = {name: value.requires_grad_() for name, value in inputs.items() if "weights" not in name}
    result = conditional_transport(**inputs, temperature=temperature)
    wanted = list(leaves.values())
    if isinstance(temperature, Tensor):
        wanted.append(temperature)
    for value in (result.cost, result.forward_plan, result.backward_plan, result.loss):
        assert value.isfinite().all()
    for gradient in torch.autograd.grad(result.loss, wanted, allow_unused=True):
        assert gradient is None or gradient.isfinite().all()
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "temperature",
    [1e-8, torch.tensor(1e-8), torch.tensor(0.0), torch.tensor(-0.01)],
    ids=["number", "tensor", "learned down to 0", "learned below 0"],
)
def test_temperature_towards_zero_gives_hard_plans(dtype, temperature):
    inputs = {"regions": draw(2, 5, 4, dtype=dtype), "labels": draw(2, 3, 4, seed=1, dtype=dtype)}
    if isinstance(temperature, Tensor):
        temperature = temperature.to(dtype, copy=True).requires_grad_()
    result = assert_finite(inputs, temperature)
    nearest_label = torch.nn.functional.one_hot(result.cost.argmin(2), 3).to(dtype)
    nearest_region = torch.nn.functional.one_hot(result.cost.argmin(1), 5).to(dtype).transpose(1, 2)
    torch.testing.assert_close(result.forward_plan, nearest_label)
    torch.testing.assert_close(result.backward_plan, nearest_region)


@pytest.mark.parametrize("temperature", [1e-8, 0.1, 100.0])
def test_everything_given_stays_finite(temperature):
    inputs = {name: value.float() for name, value in everything().items()}
    assert_finite(inputs, torch.tensor(temperature, requires_grad=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e-8, 0.1])
@pytest.mark.parametrize("which", ["regions", "labels", "both"])
def test_zero_vectors(which, temperature, dtype):
    inputs = {"regions": draw(1, 4, 3, dtype=dtype), "labels": draw(1, 2, 3, seed=1, dtype=dtype)}
    for name in inputs:
        if which in (name, "both"):
            inputs[name] = torch.zeros_like(inputs[name])
    result = assert_finite(inputs, temperature)
    torch.testing.assert_close(result.cost, torch.ones_like(result.cost))
    torch.testing.assert_close(result.forward_plan, torch.full_like(result.forward_plan, 1 / 2))
    torch.testing.assert_close(result.backward_plan, torch.full_like(result.backward_plan, 1 / 4))


@pytest.mark.parametrize("temperature", [1e-8, 0.1])
@pytest.mark.parametrize(("num_regions", "num_labels"), [(1, 1), (1, 4), (5, 1)])
def test_one_region_or_one_label(num_regions, num_labels, temperature):
    inputs = {"regions": draw(2, num_regions, 3), "labels": draw(2, num_labels, 3, seed=1)}
    expected = reference(inputs["regions"], inputs["labels"], temperature=max(temperature, 1e-6))
    assert_same(assert_finite(inputs, temperature), expected, atol=1e-9)


# --- number formats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_inputs_lose_nothing_but_their_own_rounding(dtype):
    inputs = {name: value.to(dtype) for name, value in everything(width=64).items()}
    result = conditional_transport(**inputs, temperature=0.1)
    assert_same(result, reference(**inputs, temperature=0.1), atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype):
    inputs = {name: value.float() for name, value in everything(width=64).items()}
    plain = conditional_transport(**inputs, temperature=0.1)
    with torch.autocast("cpu", dtype=dtype):
        cast = conditional_transport(**inputs, temperature=0.1)
    for name in ("cost", "forward_plan", "backward_plan", "loss"):
        assert getattr(cast, name).dtype == getattr(plain, name).dtype
        assert torch.equal(getattr(cast, name), getattr(plain, name))


def test_large_features_in_float16_do_not_overflow():
    x = (1e4 * draw(1, 4, 512)).to(torch.float16)
    f = (1e4 * draw(1, 3, 512, seed=1)).to(torch.float16)
    assert_same(conditional_transport(x, f, temperature=0.1), reference(x, f, temperature=0.1), atol=2e-5)


# --- properties -----------------------------------------------------------------------------------------------------


@st.composite
def problems(draw_value) -> dict:
    num_images, num_regions, num_labels, width = (draw_value(st.integers(1, high)) for high in (2, 5, 4, 4))

    def numbers(*shape: int, low: float = -10.0, high: float = 10.0) -> Tensor:
        values = draw_value(arrays.arrays(np.float64, shape, elements=st.floats(low, high, width=32)))
        return torch.from_numpy(values.astype(np.float64))

    pairs = (num_images, num_regions, num_labels)
    return {
        "regions": numbers(num_images, num_regions, width),
        "labels": numbers(num_images, num_labels, width),
        "region_log_prior": numbers(*pairs),
        "label_log_prior": numbers(*pairs),
        "region_weights": numbers(num_images, num_regions, low=0.0),
        "label_weights": numbers(num_images, num_labels, low=0.0),
        "temperature": draw_value(st.floats(1e-3, 10)),
        "rho": draw_value(st.floats(0, 1)),
    }


def has_mass(problem: dict) -> bool:
    return bool((problem["region_weights"].sum(1) > 1e-6).all() and (problem["label_weights"].sum(1) > 1e-6).all())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problems())
def test_any_problem_has_a_loss_between_0_and_2(problem):
    loss = conditional_transport(**problem).loss.item()
    assert -1e-12 <= loss <= 2 + 1e-12


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problems())
def test_rows_and_columns_sum_to_one(problem):
    assume(has_mass(problem))
    result = conditional_transport(**problem)
    assert (result.forward_plan >= 0).all()
    assert (result.backward_plan >= 0).all()
    rows, columns = result.forward_plan.sum(2), result.backward_plan.sum(1)
    torch.testing.assert_close(rows, torch.ones_like(rows), rtol=0, atol=1e-9)
    torch.testing.assert_close(columns, torch.ones_like(columns), rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problems(), st.randoms(use_true_random=False))
def test_order_of_regions_and_labels_does_not_matter(problem, random):
    rows = list(range(problem["regions"].shape[1]))
    columns = list(range(problem["labels"].shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    shuffled = problem | {
        "regions": problem["regions"][:, rows],
        "labels": problem["labels"][:, columns],
        "region_log_prior": problem["region_log_prior"][:, rows][:, :, columns],
        "label_log_prior": problem["label_log_prior"][:, rows][:, :, columns],
        "region_weights": problem["region_weights"][:, rows],
        "label_weights": problem["label_weights"][:, columns],
    }
    result, other = conditional_transport(**problem), conditional_transport(**shuffled)
    expected = [getattr(result, name)[:, rows][:, :, columns] for name in ("cost", "forward_plan", "backward_plan")]
    assert_same(other, (*expected, result.loss), atol=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problems(), st.floats(1e-2, 1e2), st.floats(1e-2, 1e2))
def test_lengths_of_vectors_do_not_matter(problem, region_scale, label_scale):
    assume((problem["regions"].norm(dim=2) > 1e-3).all())
    assume((problem["labels"].norm(dim=2) > 1e-3).all())
    result = conditional_transport(**problem)
    scaled = problem | {"regions": region_scale * problem["regions"], "labels": label_scale * problem["labels"]}
    expected = (result.cost, result.forward_plan, result.backward_plan, result.loss)
    assert_same(conditional_transport(**scaled), expected, atol=1e-9)


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
