"""Maps as masks: a case by hand, scikit-learn's counts, and a property."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score

from sct_hf.metrics import segmentation
from sct_hf.metrics.localisation import THRESHOLDS
from sct_hf.metrics.segmentation import count_pixels, segmentation_metrics


def random_case(seed, classes=4):
    """Maps of some labels at the size of the image, and the true label of each pixel."""
    rng = np.random.default_rng(seed)
    columns = rng.permutation(classes)[: rng.integers(1, classes + 1)]
    maps = rng.integers(0, 5, (len(columns), 6, 7)) / 4.0
    maps[:, 0, 0], maps[:, 0, 1] = 0, 1  # their range is [0, 1] already
    return maps, columns, rng.integers(-1, classes, (6, 7))


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_counts_and_shares_are_scikit_learns(seed) -> None:
    cases = [random_case(seed), random_case(seed // 2)]
    counts = sum(count_pixels(maps, columns, truth, 4) for maps, columns, truth in cases)
    expected = []
    for place, threshold in enumerate(THRESHOLDS):
        true, guess = [], []
        for maps, columns, truth in cases:
            for y, x in np.ndindex(truth.shape):
                label, value = max(zip(columns, maps[:, y, x], strict=True), key=lambda pair: pair[1])
                guess.append(label if value >= threshold else 4)
                true.append(truth[y, x] if truth[y, x] >= 0 else 4)
        assert (counts[place] == confusion_matrix(true, guess, labels=range(5))).all()
        seen = sorted({*true, *guess})
        expected.append(jaccard_score(true, guess, labels=seen, average="macro", zero_division=0))
    found = segmentation_metrics(counts, list("abcd"))
    assert found["mIoU"] == pytest.approx(max(expected))
    assert found["threshold"] == THRESHOLDS[int(np.argmax(expected))]


def test_by_hand(monkeypatch) -> None:
    monkeypatch.setattr(segmentation, "THRESHOLDS", np.array([0.5, 0.9]))
    truth = np.array([[0, 0, -1, 2]])
    maps = [np.array([[0, 0.8, 1, 0]]), np.array([[0, 0, 0.5, 1]])]  # of the labels 0 and 2
    counts = count_pixels(maps, [0, 2], truth, 3)
    assert counts[0].tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
    assert counts[1].tolist() == [[0, 0, 0, 2], [0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
    found = segmentation_metrics(counts, ["cat", "cow", "dog"])
    assert found == {
        "mIoU": pytest.approx((1 / 3 + 1 + 0) / 3),
        "threshold": 0.5,
        "IoU": {"cat": pytest.approx(1 / 3), "cow": None, "dog": 1, "background": 0},
    }


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_the_masks_themselves_get_everything(seed) -> None:
    truth = np.random.default_rng(seed).integers(-1, 3, (9, 8))
    columns = sorted({*truth[truth >= 0].tolist()})
    if columns and all((truth != column).any() for column in columns):
        maps = [(truth == column).astype(float) for column in columns]
        assert segmentation_metrics(count_pixels(maps, columns, truth, 3), list("abc"))["mIoU"] == 1


def test_maps_are_scaled_and_enlarged() -> None:
    truth = np.full((4, 8), -1)
    truth[:, :4] = 1
    counts = count_pixels([np.array([[-3.0, -9.0]])], [1], truth, 2)
    assert segmentation_metrics(counts, ["a", "b"])["mIoU"] == 1
    with pytest.raises(ValueError, match="NaN or infinity"):
        count_pixels([np.array([[np.nan, 0]])], [1], truth, 2)
