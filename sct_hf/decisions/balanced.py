"""The thresholds with the best F1 to be expected from calibrated scores.

Tagging the k highest of n scores has the expected F1 2·Σ_{i≤k} s_i / (k + Σ_{i≤n} s_i), up to terms of order 1/n, if
scores are probabilities. Its maximum F* is reached by the threshold F*/2 (Lipton, Elkan & Narayanaswamy, "Optimal
Thresholding of Classifiers to Maximize F1 Measure", ECML 2014). No target is used, so few positives cannot mislead it;
what they tell is in the calibration of the scores.

F*/2 is found by rising from 0: half the F1 of the scores above a threshold is the next threshold, until it is the same
(Dinkelbach, "On Nonlinear Fractional Programming", 1967). That is exact after a few steps, without sorting.
"""

from collections.abc import Callable, Iterable

import numpy as np


def f1_thresholds(scores: np.ndarray) -> np.ndarray:
    """The threshold of each label.

    Args:
        scores: (M, K) calibrated scores; those of unknown pairs are 0.

    Returns:
        (K,) float64 in [0, 0.5]: 0.5 if all scores are 0.
    """
    return _rise(lambda least: _above(scores, least), scores.shape[1])


def f1_threshold_of_all(parts: Callable[[], Iterable[np.ndarray]]) -> float:
    """One threshold for all labels together.

    Args:
        parts: Gives the scores as arrays (M, K), as for `f1_thresholds`. It is called several times.
    """
    found = _rise(lambda least: np.sum([_above(part, least).sum(axis=1) for part in parts()], axis=0)[:, None], 1)
    return float(found[0])


def _above(scores: np.ndarray, least: np.ndarray) -> np.ndarray:
    """(2, K): sum and number of the scores (M, K) above `least`, (K,) or (1,)."""
    kept = scores > least
    return np.stack([np.where(kept, scores, 0).sum(axis=0), kept.sum(axis=0)])


def _rise(above: Callable[[np.ndarray], np.ndarray], labels: int) -> np.ndarray:
    least = np.zeros(labels)
    kept, count = above(least)
    total = kept
    while True:
        higher = np.divide(kept, count + total, out=np.zeros(labels), where=total > 0)
        if not (higher > least).any():
            return np.where(total > 0, least, 0.5)
        least = np.maximum(higher, least)
        kept, count = above(least)
