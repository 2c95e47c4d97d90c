"""Precision against recall, as few points."""

import numpy as np
from numpy.typing import ArrayLike

from .functional import check_scores_and_targets


def precision_recall_points(
    scores: ArrayLike, targets: ArrayLike, points: int = 100
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of the precision–recall curve of all known pairs together, at evenly spaced recalls.

    Each point is exact: recall and precision of the pairs that score at least a threshold, which is the score of a
    positive pair. Time grows with N · C · log(points), without sorting all pairs.

    Args:
        scores: (N, C) real numbers.
        targets: (N, C): 1 positive, 0 negative, −1 or NaN unknown.
        points: Most points.

    Returns:
        Recall, precision and threshold, (K,) float64 each with K ≤ points, by rising recall; empty without a positive
        pair.

    Raises:
        InputError: Shapes or values are wrong.
    """
    scores, targets = check_scores_and_targets(scores, targets)
    positive, negative = np.sort(scores[targets == 1]), scores[targets == 0]
    count = len(positive)
    if not count:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    places = np.linspace(0, count - 1, min(points, count)).round().astype(np.int64)
    thresholds = np.unique(positive[places])  # rising
    hits = count - np.searchsorted(positive, thresholds)
    reached = np.searchsorted(thresholds, negative, side="right")  # how many thresholds each negative pair reaches
    false = np.bincount(reached, minlength=len(thresholds) + 1)[1:][::-1].cumsum()[::-1]
    order = slice(None, None, -1)
    return (hits / count)[order], (hits / (hits + false))[order], thresholds[order].astype(np.float64)
