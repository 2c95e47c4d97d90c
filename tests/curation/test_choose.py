"""Which images to label next: a case worked by hand, and near images left out as by a slow reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from sct_hf.curation.choose import choose, random_order, uncertain_order, uncertainty, unsure_labels

SCORES = np.array([[0.5, 0.5], [1.0, 0.0], [0.9, 0.4], [0.5, 0.01]], dtype=np.float32)


def test_uncertainty_is_the_entropy_in_bits() -> None:
    by_hand = [2.0, 0.0, 0.469 + 0.971, 1.0 + 0.0808]
    assert uncertainty(SCORES) == pytest.approx(by_hand, abs=1e-3)
    theirs = [sum(entropy([score, 1 - score], base=2) for score in row) for row in SCORES.astype(float)]
    assert uncertainty(SCORES) == pytest.approx(theirs, abs=1e-9)
    assert uncertain_order(SCORES).tolist() == [0, 2, 3, 1]


def test_a_reason_names_the_unsure_labels() -> None:
    assert unsure_labels(SCORES[2], ["dog", "cat"]) == ["cat 0.40", "dog 0.90"]
    assert unsure_labels(SCORES[3], ["dog", "cat"]) == ["dog 0.50"]
    assert unsure_labels(SCORES[1], ["dog", "cat"]) == []


def slowly(order: list[int], embeddings: np.ndarray, count: int, near: float) -> list[int]:
    """`choose`, by comparing every pair of images one by one."""
    moved = embeddings.astype(float) - embeddings.astype(float).mean(0)
    taken: list[int] = []
    for row in order:
        likeness = [
            moved[row] @ moved[other] / (np.linalg.norm(moved[row]) * np.linalg.norm(moved[other])) for other in taken
        ]
        if len(taken) < count and all(each < near for each in likeness):
            taken.append(row)
    skipped = [row for row in order if row not in taken]
    return taken + skipped[: count - len(taken)]


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 30), st.integers(1, 30), st.integers(0, 99), st.sampled_from([0.3, 0.7, 0.95]))
def test_near_images_come_last(images: int, count: int, seed: int, near: float) -> None:
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(images, 3)).astype(np.float32)
    order = rng.permutation(images).tolist()
    assert choose(order, embeddings, count, near) == slowly(order, embeddings, count, near)


def test_a_copy_is_taken_only_if_nothing_else_is_left() -> None:
    embeddings = np.eye(4, dtype=np.float16)[[0, 0, 1, 2, 3]]
    assert choose([0, 1, 2, 3, 4], embeddings, 3) == [0, 2, 3]
    assert choose([0, 1, 2, 3, 4], embeddings, 9) == [0, 2, 3, 4, 1]


def test_equal_images_are_no_error() -> None:
    assert choose([2, 0, 1], np.ones((3, 4), dtype=np.float16), 2) == [2, 0]


def test_a_random_order_has_every_image_once_and_follows_its_seed() -> None:
    order = random_order(50, 1).tolist()
    assert sorted(order) == list(range(50))
    assert order == random_order(50, 1).tolist() != random_order(50, 2).tolist()
