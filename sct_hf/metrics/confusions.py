"""Labels that are taken for others."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .functional import check_scores_and_targets


class Confusions(NamedTuple):
    """Which labels are there where another one is predicted wrongly.

    Attributes:
        wrong: (C,) int64, images where the label is predicted but known to be absent.
        there: (C, C) int64, those images of the row's label that show the column's label.
        missed: (C, C) int64, those of `there` where the column's label is not predicted.
    """

    wrong: np.ndarray
    there: np.ndarray
    missed: np.ndarray


def confusions(scores: ArrayLike, targets: ArrayLike, threshold: float | ArrayLike = 0.5) -> Confusions:
    """Count, for each label that is predicted wrongly, the labels that the image shows.

    Args:
        scores: (N, C) real numbers.
        targets: (N, C): 1 positive, 0 negative, −1 or NaN unknown, which count as neither.
        threshold: A score at or above it is a prediction: a number, or (C,).

    Raises:
        InputError: Shapes or values are wrong.
    """
    scores, targets = check_scores_and_targets(scores, targets)
    predicted = scores >= np.asarray(threshold, dtype=scores.dtype)
    wrong = (predicted & (targets == 0)).astype(np.float32)  # exact up to 2²⁴ images
    there = wrong.T @ (targets == 1).astype(np.float32)
    missed = wrong.T @ ((targets == 1) & ~predicted).astype(np.float32)
    counts = (wrong.sum(axis=0, dtype=np.float64), there, missed)
    return Confusions(*(np.asarray(count).astype(np.int64) for count in counts))
