import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.data.few_shot import few_shot_rows
from sct_hf.errors import InputError


@given(seed=st.integers(0, 1000), shots=st.integers(1, 6), labels=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_each_label_has_its_share_or_all_there_is(seed: int, shots: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((40, labels)) < rng.random(labels) * 0.4).astype(np.float32)
    targets[rng.random(targets.shape) < 0.1] = -1
    targets[0, 0] = 1
    rows = few_shot_rows(targets, shots, seed)
    assert rows.tolist() == few_shot_rows(targets, shots, seed).tolist() == sorted(set(rows.tolist()))
    counts = (targets[rows] == 1).sum(0)
    assert (counts >= np.minimum(shots, (targets == 1).sum(0))).all()
    # No image came for nothing: each shows a label, and no label called for more than its share.
    assert (targets[rows] == 1).any(1).all()
    assert len(rows) <= shots * labels


def test_images_with_several_labels_count_for_each() -> None:
    targets = np.array([[1, 1], [0, 1], [0, 1], [0, 0]])
    assert few_shot_rows(targets, 1, seed=3).tolist() == [0]  # the rare label brings the frequent one
    assert len(few_shot_rows(targets, 2, seed=3)) == 2


def test_seeds_draw_other_images() -> None:
    targets = np.ones((50, 1))
    assert len({tuple(few_shot_rows(targets, 3, seed)) for seed in range(5)}) == 5


def test_no_positive_at_all() -> None:
    with pytest.raises(InputError, match="shots is 2, but no training image shows any label"):
        few_shot_rows(np.zeros((3, 2)), 2, 0)
