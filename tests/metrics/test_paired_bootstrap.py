from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.errors import InputError
from sct_hf.metrics.calibration import calibration_metrics
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.metrics.paired_bootstrap import _draws, _Figures, paired_bootstrap


def data(seed: int, images: int = 40, labels: int = 3, levels: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of two models with ties, and targets, some of them unknown."""
    generator = np.random.default_rng(seed)
    targets = np.where(generator.random((images, labels)) < 0.1, -1, generator.random((images, labels)) < 0.3)
    one, two = (
        (np.clip(noise * generator.random(targets.shape) + (targets == 1) * 0.4, 0, 1) * levels).round() / levels
        for noise in (0.8, 0.6)
    )
    return one, two, targets.astype(int)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 6))
def test_figures_of_a_draw_are_those_of_the_images_drawn(seed: int, images: int, levels: int) -> None:
    one, _, targets = data(seed, images, levels=levels)
    weights = next(_draws(images, 3, np.random.default_rng(seed)))
    assert (weights.sum(axis=1) == images).all()
    figures, by_label = _Figures(one, targets, 0.5).of(weights)
    for draw, row in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(images), row)
        wanted: dict[str, Any] = multilabel_metrics(one[rows], targets[rows])
        wanted["Brier"] = calibration_metrics(one[rows], targets[rows], ["a", "b", "c"])["Brier"]
        for name, values in figures.items():
            if wanted[name] is None:
                assert name == "Brier" or np.isnan(values[draw])
            else:
                assert values[draw] == pytest.approx(wanted[name], abs=1e-6)
        for label, ap in enumerate(wanted["AP"].values()):
            assert by_label[draw, label] == pytest.approx(np.nan if ap is None else ap, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", ["mAP", "OF1"])
def test_intervals_are_those_of_scipy(name: str) -> None:
    one, two, targets = data(3, images=60)

    def difference(rows: np.ndarray) -> float:
        first, second = (multilabel_metrics(scores[rows], targets[rows])[name] for scores in (one, two))
        return second - first

    found = scipy.stats.bootstrap(
        (np.arange(60),), difference, n_resamples=600, vectorized=False, method="percentile", random_state=1
    ).confidence_interval
    interval = paired_bootstrap(one, two, targets, resamples=2000)[0][name]
    assert interval.difference == pytest.approx(difference(np.arange(60)))
    width = found.high - found.low
    assert interval.low == pytest.approx(found.low, abs=0.15 * width)
    assert interval.high == pytest.approx(found.high, abs=0.15 * width)


def test_a_model_is_as_good_as_itself() -> None:
    one, _, targets = data(1)
    figures, by_label = paired_bootstrap(one, one, targets, resamples=50)
    for interval in (*figures.values(), *by_label):
        assert (interval.difference, interval.low, interval.high) == (0, 0, 0)


def test_the_same_seed_draws_the_same_images() -> None:
    one, two, targets = data(2)
    first, second, other = (paired_bootstrap(one, two, targets, resamples=99, seed=seed) for seed in (0, 0, 1))
    assert first == second
    assert first != other


def test_a_label_without_a_positive_has_no_interval() -> None:
    targets = np.array([[1, 0, -1], [0, 0, -1]])
    figures, (first, second, third) = paired_bootstrap(np.full((2, 3), 0.4), np.full((2, 3), 0.6), targets)
    assert (first.one, first.two) == (0.5, 0.5)
    assert second == third == (None, None, None, None)
    assert second.difference is None
    assert figures["mAP"].difference == 0


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        paired_bootstrap(np.zeros((3, 2)), np.zeros((2, 2)), np.zeros((3, 2)))
