import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.risk_control import BinaryClassificationController, control_fwer
from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value
from scipy.stats import binom

from sct_hf.decisions.guarantees import (
    false_tag_share,
    false_tags_threshold,
    hoeffding_bentkus,
    mistakes_allowed,
    precision_thresholds,
    recall_thresholds,
)

CONFIDENCE, ROUNDS = 0.95, 200


def _drawn(rng: np.random.Generator, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a known law, and targets with these probabilities."""
    scores = rng.beta(0.5, 0.7, size=images)
    return scores, (rng.random(images) < scores).astype(np.int8)


LARGE = _drawn(np.random.default_rng(99), 400_000)
"""Stands for all images: what a threshold gives is read here."""


def precision_threshold(scores: np.ndarray, targets: np.ndarray, level: float, confidence: float) -> float | None:
    """Of one label; None if it is not reachable."""
    (found,) = precision_thresholds(scores[:, None], targets[:, None], level, confidence)
    return None if found == np.inf else found


def recall_threshold(scores: np.ndarray, targets: np.ndarray, level: float, confidence: float) -> float | None:
    """Of one label; None if it is not reachable."""
    (found,) = recall_thresholds(scores[:, None], targets[:, None], level, confidence)
    return None if found == np.inf else found


def _wrong_at_most(wrong: int) -> bool:
    """Whether this many of `ROUNDS` may be wrong if each is with a chance of 5 %, but for 1 time in 1,000."""
    return wrong <= binom.ppf(0.999, ROUNDS, 1 - CONFIDENCE)


@pytest.mark.parametrize(("level", "images"), [(0.6, 300), (0.8, 1000)])
def test_precision_holds_in_at_least_95_of_100_samples(level: float, images: int) -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(ROUNDS):
        threshold = precision_threshold(*_drawn(rng, images), level, CONFIDENCE)
        if threshold is not None:
            found.append(LARGE[1][LARGE[0] >= threshold].mean())
    assert len(found) > ROUNDS / 2
    assert _wrong_at_most((np.array(found) < level).sum())
    assert np.mean(found) < level + 0.1  # no more careful than it must be


@pytest.mark.parametrize(("level", "images"), [(0.9, 120), (0.8, 300)])
def test_recall_holds_in_at_least_95_of_100_samples(level: float, images: int) -> None:
    rng, found = np.random.default_rng(1), []
    positive = LARGE[0][LARGE[1] == 1]
    for _ in range(ROUNDS):
        threshold = recall_threshold(*_drawn(rng, images), level, CONFIDENCE)
        if threshold is not None:
            found.append((positive >= threshold).mean())
    assert len(found) > ROUNDS / 2
    assert _wrong_at_most((np.array(found) < level).sum())
    assert np.mean(found) < level + 0.09


def test_the_share_of_false_tags_holds_in_at_least_95_of_100_samples() -> None:
    rng, found = np.random.default_rng(2), []
    scores, targets = (values.reshape(-1, 4) for values in LARGE)
    for _ in range(ROUNDS // 4):
        part = [values.reshape(-1, 4) for values in _drawn(rng, 1200)]
        threshold = false_tags_threshold([(part[0], part[1])], 0.15, CONFIDENCE)
        assert threshold is not None
        found.append(false_tag_share(scores >= threshold, targets))
    assert (np.array(found) > 0.15).sum() <= binom.ppf(0.999, len(found), 1 - CONFIDENCE)
    assert np.mean(found) > 0.08


@pytest.mark.parametrize("seed", range(5))
def test_precision_is_that_of_mapies_fixed_sequence(seed: int) -> None:
    scores, targets = _drawn(np.random.default_rng(seed), 250)
    ranked = np.sort(scores)[::-1]
    least = 29  # the fewest images that certify 0.9: 0.9²⁹ < 0.05
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the estimated risk is not monotonic
        controller = BinaryClassificationController(
            lambda x: np.stack([1 - x, x], axis=1),
            risk="precision",
            target_level=0.9,
            confidence_level=CONFIDENCE,
            list_predict_params=ranked[least - 1 :],
            fwer_method="fixed_sequence",
        ).calibrate(scores, targets)
    threshold = precision_threshold(scores, targets, 0.9, CONFIDENCE)
    certified = len(controller.valid_predict_params)
    assert (0 if threshold is None else (scores >= threshold).sum()) == (certified and certified + least - 1)


def test_the_p_value_is_mapies() -> None:
    rng = np.random.default_rng(3)
    for mean, count, level in zip(
        rng.random(100), rng.integers(1, 3000, 100), rng.uniform(0.02, 0.5, 100), strict=True
    ):
        own = hoeffding_bentkus(mean * level, int(count), level)
        reference = compute_hoeffding_bentkus_p_value(np.array([mean * level]), int(count), np.array([level]))
        assert own == pytest.approx(min(1.0, float(reference[0, 0])), rel=1e-9)


def test_false_tags_are_those_of_mapies_fixed_sequence() -> None:
    scores, targets = (values.reshape(-1, 5) for values in _drawn(np.random.default_rng(4), 3000))
    grid = np.arange(199, 0, -1) / 200
    shares = []
    for threshold in grid:
        images = [(row[column >= threshold] == 0) for row, column in zip(targets, scores, strict=True)]
        shares.append(np.mean([image.mean() if len(image) else 0.0 for image in images]))
    p_values = compute_hoeffding_bentkus_p_value(np.array(shares), len(scores), np.array([0.2]))[:, 0]
    certified = control_fwer(p_values, 1 - CONFIDENCE, fwer_method="fixed_sequence")
    by_label = [(scores[:, :2], targets[:, :2]), (scores[:, 2:], targets[:, 2:])]
    assert false_tags_threshold(by_label, 0.2, CONFIDENCE) == grid[certified[-1]]


def test_recall_of_29_positives_is_worked_by_hand() -> None:
    """0.9²⁹ < 0.05 < 0.9²⁸: with 29 positives the lowest of them is the limit, with 28 none is."""
    scores = np.concatenate([np.linspace(0.5, 0.9, 29), np.linspace(0.1, 0.4, 50)])
    targets = np.repeat([1, 0], [29, 50]).astype(np.int8)
    assert recall_threshold(scores, targets, 0.9, CONFIDENCE) == pytest.approx(0.45)
    assert recall_threshold(scores[1:], targets[1:], 0.9, CONFIDENCE) is None


def test_precision_of_29_positives_is_worked_by_hand() -> None:
    scores, targets = np.linspace(0.9, 0.5, 30), np.repeat([1, 0], [29, 1]).astype(np.int8)
    threshold = precision_threshold(scores, targets, 0.9, CONFIDENCE)
    assert scores[29] < threshold < scores[28]
    assert precision_threshold(scores[1:], targets[1:], 0.9, CONFIDENCE) is None


def test_equal_scores_are_tagged_together() -> None:
    scores = np.repeat([0.9, 0.5], [40, 40])
    targets = np.concatenate([np.ones(60), np.zeros(20)]).astype(np.int8)
    assert precision_threshold(scores, targets, 0.9, CONFIDENCE) == pytest.approx(0.7)
    assert recall_threshold(scores, targets, 0.9, CONFIDENCE) == pytest.approx(0.25)


@given(st.floats(0.05, 0.99), st.floats(0.5, 0.999))
@settings(max_examples=50, deadline=None)
def test_as_many_mistakes_are_allowed_as_the_binomial_test_passes(level: float, confidence: float) -> None:
    for count, allowed in enumerate(mistakes_allowed(60, level, confidence).tolist()):
        passed = binom.cdf(np.arange(count + 1), count, 1 - level) <= 1 - confidence
        assert allowed == passed.sum() - 1


def _one_by_one(scores: np.ndarray, targets: np.ndarray, level: float) -> tuple[float, float]:
    """Thresholds of one label for precision and recall: each number of tags is tested by itself, as the text says."""
    scores, targets = scores[targets >= 0], targets[targets >= 0]
    cuts = sorted(set(scores.tolist()), reverse=True)
    gaps = dict(zip(cuts, [(one + other) / 2 for one, other in pairwise([*cuts, 0.0])], strict=True))
    positives, precision, recall, failed = (targets == 1).sum(), np.inf, np.inf, False
    for cut in cuts:
        tags, right = (scores >= cut).sum(), ((scores >= cut) & (targets == 1)).sum()
        if level**tags <= 1 - CONFIDENCE and not failed:
            failed = bool(binom.cdf(tags - right, tags, 1 - level) > 1 - CONFIDENCE)
            precision = precision if failed else gaps[cut]
        if recall == np.inf and binom.cdf(positives - right, positives, 1 - level) <= 1 - CONFIDENCE:
            recall = gaps[cut]
    return precision, recall


@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.6, 0.8]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_many_labels_have_the_thresholds_of_each_alone(seed: int, level: float, rounded: bool) -> None:
    """With unknown pairs, equal scores, scores of 0, and labels without positives or without any judgement."""
    rng = np.random.default_rng(seed)
    scores = rng.random((int(rng.integers(1, 70)), 6))
    targets = (rng.random(scores.shape) < scores ** rng.uniform(0.1, 2, 6)).astype(np.int8)
    scores = scores.round(1) if rounded else scores
    targets[rng.random(targets.shape) < 0.1] = -1
    targets[:, 4], targets[:, 5] = 0, -1
    found = (one(scores, targets, level, CONFIDENCE) for one in (precision_thresholds, recall_thresholds))
    alone = [_one_by_one(*label, level) for label in zip(scores.T, targets.T, strict=True)]
    np.testing.assert_allclose(np.stack([*found], axis=1), alone)
