import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from sct_hf.errors import InputError
from sct_hf.metrics.curves import precision_recall_points


@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from([0, 1, -1])), min_size=1, max_size=60), st.integers(2, 70)
)
def test_every_point_is_what_sklearn_gives_at_its_threshold(pairs: list[tuple[int, int]], points: int) -> None:
    scores, targets = (np.array(column)[:, None] for column in zip(*pairs, strict=True))
    recall, precision, thresholds = precision_recall_points(scores / 8, targets, points)
    known = targets >= 0
    assert len(recall) == len(precision) == len(thresholds) <= points
    assert (len(recall) > 0) == (targets == 1).any()
    for x, y, threshold in zip(recall, precision, thresholds, strict=True):
        predicted, truth = (scores[known] / 8 >= threshold), targets[known] == 1
        assert x == pytest.approx(recall_score(truth, predicted))
        assert y == pytest.approx(precision_score(truth, predicted))
    if len(recall):
        assert recall[-1] == 1
        assert (np.diff(recall) > 0).all()


def test_few_points_of_many_pairs_are_spread_over_the_recalls() -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random((5000, 4)) < 0.3).astype(int)
    scores = np.clip(0.4 * targets + 0.6 * generator.random((5000, 4)), 0, 1)
    recall, _, _ = precision_recall_points(scores, targets, 50)
    assert len(recall) == 50
    assert np.diff(recall, prepend=0).max() < 0.03


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        precision_recall_points(np.zeros((2, 3)), np.zeros((3, 2)))
