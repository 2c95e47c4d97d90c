"""What holds of conditional transport for any input."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sct_hf import conditional_transport
from tests.model.transport_reference import assert_same, problems


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
