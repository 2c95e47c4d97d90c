"""Slopes and shifts of many labels at once, against solvers that fit one label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from sct_hf.decisions.pairs import fit_pairs
from sct_hf.metrics import parts


def _drawn(seed: int, images: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C) and targets of labels with slopes and shifts of their own; a tenth is unknown."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1.5, 2, size=(images, labels))
    chances = expit(rng.uniform(0.2, 3, labels) * logits + rng.normal(0, 1.5, labels))
    targets = (rng.random(logits.shape) < chances).astype(np.int8)
    targets[rng.random(logits.shape) < 0.1] = -1
    return logits, targets


def _loss(pair: np.ndarray, logits: np.ndarray, targets: np.ndarray, ridge: float) -> tuple[float, np.ndarray]:
    """The penalised loss of one label and its gradient, by the formula."""
    logits, targets = logits[targets >= 0], targets[targets >= 0]
    odds, apart = pair[0] * logits + pair[1], np.array([pair[0] - 1, pair[1]])
    error = expit(odds) - targets
    value = np.logaddexp(0, odds).sum() - targets @ odds + ridge / 2 * (apart @ apart)
    return float(value), np.array([error @ logits, error.sum()]) + ridge * apart


def _alone(logits: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """One label's pair by scipy."""
    found = minimize(
        _loss,
        (1.0, 0.0),
        (logits, targets, ridge),
        jac=True,
        method="L-BFGS-B",
        bounds=[(1e-6, None), (None, None)],
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 10_000},
    )
    return np.array(found.x)


@pytest.mark.parametrize("ridge", [0.25, 4.0, 256.0])
def test_each_label_has_the_pair_that_scipy_finds_for_it_alone(ridge: float) -> None:
    logits, targets = _drawn(0, 150, 40)
    found = fit_pairs(logits, targets, ridge)
    alone = np.stack([_alone(*label, ridge) for label in zip(logits.T, targets.T, strict=True)], axis=1)
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_nearly_without_a_penalty_the_pair_is_that_of_sklearn(scale: float) -> None:
    logits, targets = _drawn(1, 500, 1)
    known = targets[:, 0] >= 0
    reference = LogisticRegression(C=np.inf, tol=1e-9).fit(logits[known], targets[known, 0])
    ((slope,), (shift,)) = fit_pairs(logits * scale, targets, 1e-9)
    expected = (reference.coef_[0, 0], reference.intercept_[0])
    np.testing.assert_allclose((slope * scale, shift), expected, rtol=1e-3)


@given(st.integers(0, 10_000), st.sampled_from([1e-6, 1.0, 30.0, 1e4, 1e8]), st.sampled_from([0.25, 1.0, 256.0]))
@settings(max_examples=40, deadline=None)
def test_no_pair_loses_less(seed: int, scale: float, ridge: float) -> None:
    """Few images; separable, reversed and constant logits among random ones; huge and tiny ones."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(-1, 2, (int(rng.integers(1, 12)), 5)).astype(np.int8)
    logits = rng.normal(size=targets.shape)
    logits[:, 1], logits[:, 2], logits[:, 3] = targets[:, 1], -targets[:, 2], 1
    logits *= scale
    found = fit_pairs(logits, targets, ridge)
    assert np.isfinite(found).all()
    assert (found[0] > 0).all()
    for pair, *label in zip(found.T, logits.T, targets.T, strict=True):
        best = _loss(_alone(*label, ridge), *label, ridge)[0]
        assert _loss(pair, *label, ridge)[0] <= best + 1e-7 * max(best, 1)


def test_parts_and_starts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = _drawn(2, 60, 12)
    whole = fit_pairs(logits, targets, 1.0)
    started = fit_pairs(logits, targets, 1.0, start=np.stack([np.full(12, 3.0), np.linspace(-4, 4, 12)]))
    np.testing.assert_allclose(started, whole, rtol=1e-7, atol=1e-9)
    monkeypatch.setattr(parts, "_ENTRIES", 50)
    np.testing.assert_allclose(fit_pairs(logits, targets, 1.0), whole, rtol=1e-9)


def test_labels_do_not_touch_each_other() -> None:
    logits, targets = _drawn(3, 80, 6)
    whole = fit_pairs(logits, targets, 1.0)
    for label in range(6):
        one = fit_pairs(logits[:, [label]], targets[:, [label]], 1.0)
        np.testing.assert_allclose(one[:, 0], whole[:, label], rtol=1e-7)
