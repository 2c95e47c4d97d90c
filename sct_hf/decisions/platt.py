"""Log odds from logits: one slope and shift for all labels, and labels' own shrunk towards them."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

STRENGTHS = (np.inf, 256.0, 64.0, 16.0, 4.0, 1.0, 0.25)
"""Weights of shrinkage to choose from, the strongest first; infinite for one pair for all labels."""

_FOLDS = 5
_LEAST_SLOPE = 1e-6
LEAST_IMAGES = 2
"""Positives and negatives that a label needs for a pair of its own."""

_SHARED_RIDGE = 1.0


class Calibration(NamedTuple):
    """score = sigmoid(slope · logit + shift).

    Attributes:
        slope: (C,) float64, above 0.
        shift: (C,) float64.
        shrinkage: Weight that drew labels' own pairs to the shared one; infinite if all labels share it.
    """

    slope: np.ndarray
    shift: np.ndarray
    shrinkage: float

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Scores (N, C) float64 in [0, 1] of logits (N, C)."""
        return expit(self.slope * logits + self.shift)


class ChosenCalibration(NamedTuple):
    """The calibration with the least log loss on held-out images.

    Attributes:
        calibration: Fitted on all images.
        held_out: (N, C) float64, each image's scores by a calibration fitted without it, at the chosen strength.
        log_losses: Mean log loss of the held-out pairs, one for each of `strengths`.
        strengths: The strengths compared.
    """

    calibration: Calibration
    held_out: np.ndarray
    log_losses: list[float]
    strengths: tuple[float, ...]


def choose_platt(
    logits: np.ndarray, targets: np.ndarray, *, strengths: tuple[float, ...], seed: int
) -> ChosenCalibration:
    """Fit the calibration at the strength of shrinkage with the least log loss in five-fold cross-validation.

    Args:
        logits: (N, C) float64, finite.
        targets: (N, C): 1, 0, or −1 unknown.
        strengths: The strengths to compare, the strongest first; equal losses take the stronger one.
        seed: Seed of the folds.
    """
    folds = np.random.default_rng(seed).permutation(len(logits)) % min(_FOLDS, len(logits))  # (N,)
    known = targets >= 0
    held_out = np.empty((len(strengths), *logits.shape))
    for fold in np.unique(folds):
        out = folds == fold
        for place, fitted in enumerate(_fits(logits[~out], targets[~out], strengths)):
            held_out[place, out] = fitted.scores(logits[out])
    losses = [log_loss(scores[known], targets[known]) for scores in held_out]
    best = int(np.argmin(losses))
    (fitted,) = _fits(logits, targets, strengths[best : best + 1])
    return ChosenCalibration(fitted, held_out[best], losses, strengths)


def log_loss(scores: np.ndarray, targets: np.ndarray) -> float:
    """Mean negative log likelihood of targets in {1, 0}; a score counts as at least 1e-12 from 0 and 1."""
    scores = scores.clip(1e-12, 1 - 1e-12)
    return -float(np.log(np.where(targets == 1, scores, 1 - scores)).mean())


def _fits(logits: np.ndarray, targets: np.ndarray, strengths: tuple[float, ...]) -> list[Calibration]:
    """Fit all labels' pairs at each strength.

    The shared pair is fitted on all labels together. A label's own pair scales and shifts the shared log odds, with a
    penalty on what differs from 1 and 0, so the same weight means the same for all logits. A label with fewer than two
    known positives or negatives has the shared pair.
    """
    known = targets >= 0
    slope, shift = fit_pair(logits[known], targets[known], _SHARED_RIDGE)
    odds = slope * logits + shift
    enough = np.minimum((targets == 1).sum(axis=0), (targets == 0).sum(axis=0)) >= LEAST_IMAGES  # (C,)
    own, fits = np.tile((1.0, 0.0), (logits.shape[1], 1)), []  # (C, 2)
    for strength in strengths:
        if np.isfinite(strength):
            for label in np.flatnonzero(enough):
                rows = known[:, label]
                own[label] = fit_pair(odds[rows, label], targets[rows, label], strength, start=own[label])
        fits.append(Calibration(own[:, 0] * slope, own[:, 0] * shift + own[:, 1], strength))
    return fits


def fit_pair(
    logits: np.ndarray, targets: np.ndarray, ridge: float, *, start: tuple[float, float] | np.ndarray = (1.0, 0.0)
) -> np.ndarray:
    """Fit the slope and shift of one set of logits by penalised maximum likelihood.

    Minimises Σ log loss + ½·ridge·((slope − 1)² + shift²) (Platt, "Probabilistic Outputs for Support Vector Machines",
    1999, with a ridge in place of his smoothed targets). With a ridge above 0, separable targets have a finite
    solution too.

    Args:
        logits: (M,) float64, finite.
        targets: (M,) in {1, 0}.
        ridge: Weight of the penalty, at least 0.
        start: Slope and shift to start from.

    Returns:
        (2,) float64: slope > 0, and shift.
    """
    scale = max(1.0, float(np.abs(logits).max(initial=0.0)) / 10)  # of huge logits, so that both unknowns are near 1
    scaled = logits / scale

    def loss(pair: np.ndarray) -> tuple[float, np.ndarray]:
        odds, apart = pair[0] * scaled + pair[1], np.array([pair[0] / scale - 1, pair[1]])
        error = expit(odds) - targets
        value = np.logaddexp(0, odds).sum() - targets @ odds + ridge / 2 * (apart @ apart)
        slopes = np.array([error @ scaled + ridge * apart[0] / scale, error.sum() + ridge * apart[1]])
        return float(value), slopes

    found = minimize(
        loss,
        (start[0] * scale, start[1]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(_LEAST_SLOPE * scale, None), (None, None)],
        options={"ftol": 1e-13, "gtol": 1e-6},
    )
    return np.array([found.x[0] / scale, found.x[1]])
