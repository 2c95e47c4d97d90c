"""Log odds from logits: one slope and shift for all labels, and labels' own shrunk towards them."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from ..metrics.parts import label_parts
from .pairs import fit_pairs

STRENGTHS = (np.inf, 256.0, 64.0, 16.0, 4.0, 1.0, 0.25)
"""Weights of shrinkage to choose from, the strongest first; infinite for one pair for all labels."""

_FOLDS = 5
LEAST_IMAGES = 2
"""Positives and negatives that a label needs for a pair of its own."""

_SHARED_RIDGE = 1.0
_ALL = slice(None)


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

    def scores(self, logits: np.ndarray, labels: slice | np.ndarray = _ALL) -> np.ndarray:
        """Scores (N, K) float64 in [0, 1] of the labels in a slice, or with numbers (K,), of logits (N, C)."""
        return expit(self.slope[labels] * logits[:, labels] + self.shift[labels])


def uncalibrated(labels: int) -> Calibration:
    """The calibration that leaves all labels' logits as they are."""
    return Calibration(np.ones(labels), np.zeros(labels), np.inf)


class ChosenCalibration(NamedTuple):
    """The calibration with the least log loss on held-out images.

    Attributes:
        calibration: Fitted on all images.
        held_out: (N, C), each image's scores by a calibration fitted without it, at the chosen strength, in the dtype
            of the logits.
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
        logits: (N, C) float32 or float64, finite.
        targets: (N, C): 1, 0, or −1 unknown.
        strengths: The strengths to compare, the strongest first; equal losses take the stronger one.
        seed: Seed of the folds.
    """
    folds = np.random.default_rng(seed).permutation(len(logits)) % min(_FOLDS, len(logits))  # (N,)
    shared = _fit_shared(logits, targets)
    losses, fits = np.zeros(len(strengths)), []
    for fold in np.unique(folds):
        out = folds == fold
        fits.append(_fits(logits[~out], targets[~out], strengths, shared))
        left = logits[out], targets[out]
        losses += [total_log_loss(fitted, *left) for fitted in fits[-1]]
    best = int(np.argmin(losses))
    held_out = np.empty_like(logits)
    for fold, fitted in enumerate(fits):
        left_logits = logits[folds == fold]
        for part in label_parts(*left_logits.shape):
            held_out[folds == fold, part] = fitted[best].scores(left_logits, part)
    (chosen,) = _fits(logits, targets, strengths[best : best + 1], shared)
    return ChosenCalibration(chosen, held_out, (losses / (targets >= 0).sum()).tolist(), strengths)


def total_log_loss(calibration: Calibration, logits: np.ndarray, targets: np.ndarray) -> float:
    """Negative log likelihood of all known targets; a score counts as at least 1e-12 from 0 and 1."""
    total = 0.0
    for part in label_parts(*logits.shape):
        scores, truth = calibration.scores(logits, part).clip(1e-12, 1 - 1e-12), targets[:, part]
        total -= float(np.log(np.where(truth == 1, scores, 1 - scores))[truth >= 0].sum())
    return total


def _fits(
    logits: np.ndarray, targets: np.ndarray, strengths: tuple[float, ...], start: np.ndarray
) -> list[Calibration]:
    """Fit all labels' pairs at each strength.

    The shared pair is fitted on all labels together, from `start` (2, 1). A label's own pair scales and shifts the
    shared log odds, with a penalty on what differs from 1 and 0, so the same weight means the same for all logits. A
    label with fewer than two known positives or negatives has the shared pair.
    """
    ((slope,), (shift,)) = _fit_shared(logits, targets, start)
    enough = np.flatnonzero(np.minimum((targets == 1).sum(axis=0), (targets == 0).sum(axis=0)) >= LEAST_IMAGES)
    own = np.zeros((len(strengths), 2, logits.shape[1]))
    own[:, 0] = 1
    for part in label_parts(len(logits), len(enough)):
        labels = enough[part]
        odds, truth = slope * logits[:, labels].astype(np.float64) + shift, targets[:, labels]
        pairs = own[0][:, labels]
        for place, strength in enumerate(strengths):
            if np.isfinite(strength):
                pairs = fit_pairs(odds, truth, strength, start=pairs)
                own[place][:, labels] = pairs
    return [
        Calibration(pair[0] * slope, pair[0] * shift + pair[1], strength)
        for pair, strength in zip(own, strengths, strict=True)
    ]


def _fit_shared(logits: np.ndarray, targets: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """The pair (2, 1) of all labels together."""
    known = targets >= 0
    return fit_pairs(logits[known][:, None], targets[known][:, None], _SHARED_RIDGE, start=start)
