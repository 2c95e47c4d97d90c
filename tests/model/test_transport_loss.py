"""The loss in chunks of labels against the formulas in plain Python, and its gradient against autograd's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from sct_hf.model.transport_sct import cosine_similarity, transport_loss
from tests.model.transport_reference import everything, problems, reference

CHUNKS = [1, 3, 4, None]  # of the 4 labels of `everything`


def loss_of(problem: dict, labels_at_once: int | None) -> Tensor:
    problem = dict(problem)
    similarity = cosine_similarity(problem.pop("regions"), problem.pop("labels"))
    return transport_loss(similarity, **problem, labels_at_once=labels_at_once)


def plain_loss(problem: dict) -> Tensor:
    """The formulas by whole tensors, with autograd's gradient; for weights above zero."""
    u, v = (problem[name] / problem[name].norm(dim=-1, keepdim=True) for name in ("regions", "labels"))
    a, q = (problem[name] / problem[name].sum(-1, keepdim=True) for name in ("region_weights", "label_weights"))
    dot = torch.einsum("bpd,bkd->bpk", u, v)
    to_labels = q[:, None] * torch.exp(dot / problem["temperature"] + problem["label_log_prior"])
    to_regions = a[:, :, None] * torch.exp(dot / problem["temperature"] + problem["region_log_prior"])
    to_labels, to_regions = to_labels / to_labels.sum(2, keepdim=True), to_regions / to_regions.sum(1, keepdim=True)
    moved = problem["rho"] * a[:, :, None] * to_labels + (1 - problem["rho"]) * q[:, None] * to_regions
    return (moved * (1 - dot)).sum() / len(dot)


@pytest.mark.parametrize("labels_at_once", CHUNKS)
@pytest.mark.parametrize("temperature", [1e-8, 0.01, 0.1, 1.0])
def test_equals_the_formulas(temperature: float, labels_at_once: int | None) -> None:
    problem = everything() | {"temperature": temperature, "rho": 0.3}
    problem["label_weights"][2] = 0  # an image without a positive
    expected = reference(**problem | {"temperature": max(temperature, 1e-6)})[3]
    torch.testing.assert_close(loss_of(problem, labels_at_once), expected, rtol=0, atol=1e-10)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(problems(), st.sampled_from([1, 2, 3, None]), st.booleans(), st.booleans())
def test_any_problem_equals_the_formulas(
    problem: dict, labels_at_once: int | None, without_regions: bool, without_labels: bool
) -> None:
    if without_regions:
        problem["region_weights"] = None
    if without_labels:
        problem["label_weights"][0] = 0
    for name in ("regions", "labels"):  # a length below 1e-6 lessens the similarity, by design
        length = problem[name].norm(dim=2)
        assume(((length == 0) | (length > 1e-6)).all())
    expected = reference(**problem)[3]
    torch.testing.assert_close(loss_of(problem, labels_at_once), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("labels_at_once", CHUNKS)
@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_gradients_of_all_inputs_equal_autograds(rho: float, labels_at_once: int | None) -> None:
    problem = everything() | {"temperature": torch.tensor(0.2, dtype=torch.float64), "rho": rho}
    for name in ("region_weights", "label_weights"):
        problem[name] = problem[name] + 0.1
    leaves = [value.requires_grad_() for value in problem.values() if isinstance(value, Tensor)]
    gradients = torch.autograd.grad(3 * loss_of(problem, labels_at_once), leaves)
    for gradient, expected in zip(gradients, torch.autograd.grad(3 * plain_loss(problem), leaves), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("labels_at_once", [1, 3, None])
@pytest.mark.parametrize("one_prior", [False, True])
def test_gradients_are_those_of_finite_differences(one_prior: bool, labels_at_once: int | None) -> None:
    problem = everything(num_images=2, num_regions=3, width=3)
    problem["label_weights"][0] = 0
    weights = {name: problem.pop(name) for name in ("region_weights", "label_weights")}
    names = [name for name in problem if not (one_prior and name == "region_log_prior")]
    leaves = [problem[name].requires_grad_() for name in names]
    leaves.append(torch.tensor(0.3, dtype=torch.float64, requires_grad=True))

    def run(*values: Tensor) -> Tensor:
        given_values = dict(zip([*names, "temperature"], values, strict=True))
        given_values.setdefault("region_log_prior", given_values["label_log_prior"])
        return loss_of(given_values | weights, labels_at_once)

    assert torch.autograd.gradcheck(run, leaves)


def test_chunks_do_not_matter_when_there_are_too_many_pairs_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = everything() | {"temperature": 0.1}
    whole = loss_of(problem, None)
    for pairs in (1, 15, 31, 59):  # of 3 · 5 · 4
        monkeypatch.setattr("sct_hf.model.transport_sct._PAIRS_AT_ONCE", pairs)
        torch.testing.assert_close(loss_of(problem, None), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_keeps_its_dtypes_and_loses_only_its_rounding(dtype: torch.dtype) -> None:
    problem = {name: value.to(dtype) for name, value in everything(width=64).items()}
    leaves = [problem[name].requires_grad_() for name in ("regions", "labels", "region_log_prior", "label_log_prior")]
    with torch.autocast("cpu", dtype=dtype):
        loss = loss_of(problem | {"temperature": 0.1}, 3)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), reference(**problem, temperature=0.1)[3], rtol=0, atol=2e-5)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    names = ("regions", "labels", "region_log_prior", "label_log_prior")
    weights = {name: problem[name].double() for name in ("region_weights", "label_weights")}
    whole = loss_of(dict(zip(names, exact, strict=True)) | weights | {"temperature": 0.1}, None)
    for gradient, expected in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(whole, exact), strict=True):
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.double(), expected, rtol=0.02, atol=1e-3)


MEMORY = """
import resource, torch
from sct_hf.model.transport_sct import cosine_similarity, transport_loss

def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

imported = peak()
B, P, C, D = 16, 196, 10_000, 256
leaves = [torch.randn(shape, requires_grad=True) for shape in ((B, P, D), (B, C, D), (B, P, C), (B, P, C), ())]
regions, labels, region_log_prior, label_log_prior, log_temperature = leaves
transport_loss(
    cosine_similarity(regions, labels),
    temperature=log_temperature.exp(),
    region_log_prior=region_log_prior,
    label_log_prior=label_log_prior,
    label_weights=(torch.rand(B, C) < 0.001).float(),
).backward()
assert all(leaf.grad.isfinite().all() and leaf.grad.abs().sum() > 0 for leaf in leaves)
print(peak() - imported)
"""


@pytest.mark.slow
def test_ten_thousand_labels_take_less_than_two_gigabytes() -> None:
    """With inputs and all gradients, of which log-priors alone are 0.5 GB; libraries in memory do not count."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", MEMORY], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2e9
