"""The bootstrap of held-out folds, beside scikit-learn on images drawn one by one."""

import numpy as np
import pytest

from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.training.redrawing import _mean_ap, redrawn


def test_weights_count_as_images_that_are_there_so_many_times() -> None:
    rng = np.random.default_rng(0)
    scores, targets = rng.random((30, 4)), rng.integers(-1, 2, (30, 4))
    targets[:, 3] = 0  # a label without a positive
    times = rng.multinomial(30, np.full(30, 1 / 30), 5)
    found = _mean_ap(scores, targets, times)
    for row, counts in zip(found, times, strict=True):
        rows = np.repeat(np.arange(30), counts)
        assert row == pytest.approx(multilabel_metrics(scores[rows], targets[rows])["mAP"], abs=1e-9)


def test_the_spread_is_that_of_new_images() -> None:
    """By drawing whole data sets again from the distribution that made them."""
    rng = np.random.default_rng(0)
    folds = np.arange(300) % 5

    def draw() -> tuple[np.ndarray, np.ndarray]:
        targets = (rng.random((300, 3)) < 0.2).astype(int)
        logits = targets + rng.normal(0, 1, (1, 300, 3))
        return logits, targets

    def mean_of(logits: np.ndarray, targets: np.ndarray) -> float:
        return float(
            np.mean([multilabel_metrics(logits[0][folds == k], targets[folds == k])["mAP"] for k in range(5)])
        )

    true = np.std([mean_of(*draw()) for _ in range(60)])
    logits, targets = draw()
    draws = redrawn(logits, targets, folds, np.array([mean_of(logits, targets)]), seed=0)
    assert draws.shape == (400, 1)
    assert draws.mean() == pytest.approx(mean_of(logits, targets), abs=0.005)
    assert 0.5 * true < draws.std() < 2.5 * true


def test_sizes_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((60, 2)) < 0.4).astype(int)
    logits = targets + rng.normal(0, 1, (60, 2))
    draws = redrawn(np.stack([logits, logits]), targets, np.arange(60) % 3, np.array([0.5, 0.7]), seed=0)
    assert draws[:, 1] - draws[:, 0] == pytest.approx(0.2)
    assert np.array_equal(
        draws, redrawn(np.stack([logits, logits]), targets, np.arange(60) % 3, np.array([0.5, 0.7]), 0)
    )
