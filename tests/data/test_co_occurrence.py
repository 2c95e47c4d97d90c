"""Counts of labels seen together, and the graph made of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.data.co_occurrence import seen_together
from sct_hf.variants.label_graph import count_label_graph


def label_graph(targets: np.ndarray) -> np.ndarray:
    return count_label_graph(torch.from_numpy(targets)).numpy()


def test_a_graph_by_hand() -> None:
    """A label unknown in an image leaves that pair out; the other pairs of the image stay."""
    targets = np.array([[1, 1, 0], [1, 0, -1], [1, np.nan, 1], [0, 1, 1]])
    wanted = [
        [0, 1 / (2 + 1), 1 / (2 + 1)],  # of the first label's images, two judge the second and two the third
        [1 / (2 + 1), 0, 1 / (2 + 1)],
        [1 / (2 + 1), 1 / (1 + 1), 0],  # of the third's images, one leaves the second open
    ]
    assert label_graph(targets) == pytest.approx(np.array(wanted))
    assert seen_together(targets).tolist() == [[3, 1, 1], [1, 2, 1], [1, 1, 2]]


@given(seed=st.integers(0, 10_000), images=st.integers(0, 12), labels=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_counts_agree_with_loops(seed: int, images: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.choice(np.array([1, 0, -1, np.nan], dtype=np.float32), (images, labels), p=[0.4, 0.3, 0.2, 0.1])
    graph, together = label_graph(targets), seen_together(targets)
    assert graph.shape == together.shape == (labels, labels)
    for i in range(labels):
        for j in range(labels):
            both = [row for row in targets if row[i] == 1 and row[j] == 1]
            judged = [row for row in targets if row[i] == 1 and row[j] in (0, 1)]
            assert together[i, j] == len(both)
            assert graph[i, j] == (0 if i == j else pytest.approx(len(both) / (len(judged) + 1)))


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_with_many_images_it_is_the_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((5000, 3)) < 0.5).astype(np.float32)
    shares = np.array([targets[targets[:, i] == 1].mean(0) for i in range(3)])
    np.fill_diagonal(shares, 0)
    assert label_graph(targets) == pytest.approx(shares, abs=1e-3)
