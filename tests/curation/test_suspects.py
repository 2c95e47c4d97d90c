"""The model of label noise: a case by hand, Bayes' rule by counting, rates that are recovered, and cleanlab."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import average_precision_score

from sct_hf.curation.baseline import cleanlab_ranks
from sct_hf.curation.suspects import NoiseModel, fit_noise

RATE = st.floats(0.001, 0.4)


def noisy(
    count: int, missing: float, spurious: float, seed: int = 0, slope: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits (N, 5), given labels, and which of them are wrong; labels follow σ(slope · logit + shift)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-2, 4, (count, 5))
    true = rng.random(logits.shape) < expit(slope * logits + np.linspace(-1, 1, 5))
    wrong = rng.random(logits.shape) < np.where(true, missing, spurious)
    return logits, (true ^ wrong).astype(np.int8), wrong


def test_a_case_by_hand() -> None:
    model = NoiseModel(slope=2.0, shifts=np.array([0.0, 1.0]), missing=0.1, spurious=0.05)
    logits, labels = np.array([[0.0, -0.5], [0.0, -0.5], [0.0, 0.0]]), np.array([[1, 1], [0, 0], [-1, 1]])
    found = model.wrong(logits, labels)
    given_wrongly = 0.05 * 0.5 / (0.05 * 0.5 + 0.9 * 0.5)
    missing = 0.1 * 0.5 / (0.1 * 0.5 + 0.95 * 0.5)
    odds = np.e  # of the second label in the third image
    surely = 0.05 / (0.05 + 0.9 * odds)
    expected = [[given_wrongly, given_wrongly], [missing, missing], [np.nan, surely]]
    assert found == pytest.approx(np.array(expected), nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(RATE, RATE, st.floats(-5, 5))
def test_probabilities_are_those_of_a_table_of_all_cases(missing: float, spurious: float, logit: float) -> None:
    there = expit(logit)
    joint = {
        (True, True): there * (1 - missing),
        (True, False): there * missing,
        (False, True): (1 - there) * spurious,
        (False, False): (1 - there) * (1 - spurious),
    }  # (there, given)
    model = NoiseModel(1.0, np.zeros(1), missing, spurious)
    for value in (True, False):
        of_given = joint[not value, value] / (joint[True, value] + joint[False, value])
        assert model.wrong(np.array([[logit]]), np.array([[value]]))[0, 0] == pytest.approx(of_given)


@pytest.mark.parametrize(("missing", "spurious"), [(0.1, 0.0), (0.0, 0.05), (0.08, 0.03), (0.0, 0.0)])
def test_rates_slope_and_shifts_are_recovered(missing: float, spurious: float) -> None:
    logits, labels, wrong = noisy(4000, missing, spurious, slope=0.7)
    model = fit_noise(logits, labels)
    assert model.missing == pytest.approx(missing, abs=0.02)
    assert model.spurious == pytest.approx(spurious, abs=0.01)
    assert model.slope == pytest.approx(0.7, rel=0.1)
    assert model.shifts == pytest.approx(np.linspace(-1, 1, 5), abs=0.25)
    assert model.wrong(logits, labels).sum() == pytest.approx(wrong.sum(), abs=0.15 * wrong.sum() + 60)


def test_unknown_labels_take_no_part() -> None:
    logits, labels, _ = noisy(2000, 0.1, 0.05)
    hidden = np.random.default_rng(1).random(labels.shape) < 0.5
    hidden[:, 4] = True  # a label that nobody judged
    logits[hidden] *= -7  # whatever the score
    model = fit_noise(logits, np.where(hidden, -1, labels))
    assert (model.missing, model.spurious) == pytest.approx((0.1, 0.05), abs=0.03)
    assert model.shifts[4] == pytest.approx(model.shifts[:4].mean(), abs=0.3)


@pytest.mark.parametrize(("missing", "spurious"), [(0.05, 0.0), (0.0, 0.05), (0.05, 0.05)])
def test_wrong_labels_rank_above_those_of_cleanlab(missing: float, spurious: float) -> None:
    logits, labels, wrong = noisy(3000, missing, spurious, slope=2.0)
    ours = fit_noise(logits, labels).wrong(logits, labels)
    ranks = cleanlab_ranks(expit(logits), labels)
    theirs = np.where(ranks > 0, -ranks, -labels.size)
    of_ours, of_theirs = (average_precision_score(wrong.ravel(), found.ravel()) for found in (ours, theirs))
    assert of_ours > of_theirs + 0.05


def test_scores_far_apart_are_fitted_too() -> None:
    logits = np.array([[-80.0], [-60.0], [70.0], [90.0]] * 10)
    labels = (logits > 0).astype(np.int8)
    labels[0] = 1
    found = fit_noise(logits, labels).wrong(logits, labels)
    assert np.isfinite(found).all()
    assert found.argmax() == 0


def test_the_fit_is_the_maximum_of_the_posterior() -> None:
    """A search without derivatives of the formula finds no better parameters."""
    logits, labels, _ = noisy(300, 0.15, 0.1)
    logits, labels = logits[:, :2], labels[:, :2]

    def loss(found: np.ndarray) -> float:
        slope, shift, missing, spurious = np.exp(found[0]), found[1], *(expit(found[2:4]) / 2)
        given = spurious + (1 - missing - spurious) * expit(slope * logits + shift + found[4:])
        prior = (found[4:] ** 2).sum() / 2.0**2 + ((found[2:4] + 4) ** 2).sum() / 3.0**2
        return prior / 2 - np.log(np.where(labels == 1, given, 1 - given)).sum()

    best = minimize(loss, np.array([0.0, 0, -2, -2, 0, 0]), method="Powell", options={"xtol": 1e-6, "ftol": 1e-12})
    model = fit_noise(logits, labels)
    assert (model.missing, model.spurious) == pytest.approx(expit(best.x[2:4]) / 2, abs=1e-4)
    assert model.slope == pytest.approx(np.exp(best.x[0]), rel=1e-3)
    assert model.shifts == pytest.approx(best.x[1] + best.x[4:], abs=1e-2)
