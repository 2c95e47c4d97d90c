"""The thresholds with the best F1 to be expected from calibrated scores."""

import numpy as np


def f1_threshold(scores: np.ndarray) -> float:
    """Half of the best F1 to be expected: the threshold that reaches it, if scores are probabilities.

    Tagging the k highest of n scores has the expected F1 2·Σ_{i≤k} s_i / (k + Σ_{i≤n} s_i), up to terms of order 1/n.
    Its maximum F* is reached by the threshold F*/2 (Lipton, Elkan & Narayanaswamy, "Optimal Thresholding of
    Classifiers to Maximize F1 Measure", ECML 2014). No target is used, so few positives cannot mislead it; what they
    tell is in the calibration of the scores.

    Args:
        scores: (M,) calibrated scores.

    Returns:
        The threshold, in [0, 0.5].
    """
    ranked = np.sort(scores)[::-1]
    total = ranked.sum()
    if total == 0:
        return 0.5
    return float((np.cumsum(ranked) / (np.arange(1, len(ranked) + 1) + total)).max())
