"""Counts of labels seen together."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.data.co_occurrence import seen_together


def test_by_hand() -> None:
    targets = np.array([[1, 1, 0], [1, 0, -1], [1, np.nan, 1], [0, 1, 1]])
    assert seen_together(targets).tolist() == [[3, 1, 1], [1, 2, 1], [1, 1, 2]]


@given(seed=st.integers(0, 10_000), images=st.integers(0, 12), labels=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_counts_agree_with_loops(seed: int, images: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.choice(np.array([1, 0, -1, np.nan], dtype=np.float32), (images, labels), p=[0.4, 0.3, 0.2, 0.1])
    together = seen_together(targets)
    assert together.shape == (labels, labels)
    for i in range(labels):
        for j in range(labels):
            assert together[i, j] == sum(row[i] == 1 and row[j] == 1 for row in targets)
