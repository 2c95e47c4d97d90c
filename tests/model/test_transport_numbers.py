"""Conditional transport where numbers get extreme, and in every number format."""

import pytest
import torch
from torch import Tensor

from sct_hf import conditional_transport
from tests.model.transport_reference import assert_same, draw, everything, reference

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
