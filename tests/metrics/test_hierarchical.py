"""Hierarchical metrics against a case worked by hand and a slow reference in sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sct_hf.errors import InputError
from sct_hf.metrics import HIERARCHICAL_METRICS, hierarchical_metrics, multilabel_metrics

NAMES = ["dog", "cat", "bus", "animal", "thing"]
PARENTS = {"dog": ["animal"], "cat": ["animal"], "animal": ["thing"], "bus": ["thing"]}
ABOVE = {"dog": {"animal", "thing"}, "cat": {"animal", "thing"}, "animal": {"thing"}, "bus": {"thing"}, "thing": set()}


def test_a_case_by_hand() -> None:
    scores = [[0.9, 0.2, 0.1, 0.8, 0.95], [0.1, 0.7, 0.1, 0.3, 0.6]]
    targets = [[0, 1, 0, 1, 1], [0, 0, 1, 0, 1]]
    found = hierarchical_metrics(scores, targets, PARENTS, NAMES)
    # Predicted: {dog, animal, thing}, {cat, animal, thing}; true: {cat, animal, thing}, {bus, thing}.
    assert found["hP"] == pytest.approx(3 / 6)
    assert found["hR"] == pytest.approx(3 / 5)
    assert found["hF1"] == pytest.approx(6 / 11)
    assert found["violations"] == 2  # dog over animal in the first image, cat over animal in the second
    assert found["violating_images"] == 1
    assert list(found) == list(HIERARCHICAL_METRICS)
    flat = multilabel_metrics(scores, targets, label_names=NAMES)["AP"]
    assert found["mAP_leaves"] == pytest.approx((flat["cat"] + flat["bus"]) / 2)


marks = st.lists(st.lists(st.sampled_from([1, 0, -1]), min_size=5, max_size=5), min_size=1, max_size=5)


@given(marks, st.integers(0, 50))
def test_sets_and_their_ancestors(targets: list[list[int]], seed: int) -> None:
    scores = np.random.default_rng(seed).random((len(targets), 5), dtype=np.float32)
    hits = guesses = truths = violations = 0
    for row, target in zip(scores, targets, strict=True):
        truth = {name for name, mark in zip(NAMES, target, strict=True) if mark == 1}
        truth |= {up for name in truth for up in ABOVE[name]}
        guess = {name for name, score in zip(NAMES, row, strict=True) if score >= 0.5}
        guess |= {up for name in guess for up in ABOVE[name]}
        guess -= {name for name, mark in zip(NAMES, target, strict=True) if mark == -1} - truth
        hits, guesses, truths = hits + len(guess & truth), guesses + len(guess), truths + len(truth)
        score = dict(zip(NAMES, row, strict=True))
        violations += sum(score[parent] < score[child] for child, above in PARENTS.items() for parent in above)
    found = hierarchical_metrics(scores, targets, PARENTS, NAMES)
    assert found["hP"] == pytest.approx(hits / guesses if guesses else 0)
    assert found["hR"] == pytest.approx(hits / truths if truths else 0)
    assert found["violations"] == violations


def test_equal_scores_and_their_rounding_violate_nothing() -> None:
    scores = np.full((3, 5), 0.7, dtype=np.float32)
    scores[:, 3] = np.nextafter(np.float32(0.7), np.float32(0))
    found = hierarchical_metrics(scores, np.ones((3, 5)), PARENTS, NAMES)
    assert (found["violations"], found["violating_images"]) == (0, 0)
    scores[1, 3] = 0.69
    assert hierarchical_metrics(scores, np.ones((3, 5)), PARENTS, NAMES)["violations"] == 2


def test_without_a_leaf_that_has_a_positive() -> None:
    found = hierarchical_metrics([[0.1] * 5], [[0, 0, 0, 1, 1]], PARENTS, NAMES)
    assert found["mAP_leaves"] is None
    assert (found["hP"], found["hR"], found["hF1"]) == (0, 0, 0)


def test_names_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="names 'bird', which is no label"):
        hierarchical_metrics([[0.1] * 5], [[0] * 5], {"bird": ["animal"]}, NAMES)
