"""How well scores match the share of positives: calibration error, Brier score and reliability curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .frequency import GROUPS
from .functional import check_scores_and_targets
from .parts import label_parts

BINS = 15

CALIBRATION_METRICS = {
    "ECE": "expected calibration error of all (image, label) pairs together, 15 bins of equal width",
    "ECE_mean": "mean over labels of their own calibration errors",
    "Brier": "mean squared difference of score and target over all pairs",
    "ECE_by_label": "{label: calibration error}; None for a label without a known target",
}
"""The keys of `calibration_metrics`, and what they mean. With groups, `ECE_rare` and so on are means over labels."""


def reliability_curve(scores: ArrayLike, targets: ArrayLike, bins: int = BINS) -> dict[str, list[float]]:
    """The points of a reliability diagram (Niculescu-Mizil & Caruana, ICML 2005), all pairs together.

    Args:
        scores: (N, C) in [0, 1].
        targets: (N, C): 1 positive, 0 negative, −1 or NaN unknown.
        bins: Number of bins of equal width; a score on an edge is in the upper one.

    Returns:
        For each bin that has a known pair: `score`, its mean score, `positive`, its share of positives, and `pairs`,
        its number of pairs.

    Raises:
        InputError: Shapes or values are wrong.
    """
    counts, score_sums, hits = _bins(*_check(scores, targets), bins).sum(axis=1)
    full = counts > 0
    return {
        "score": (score_sums[full] / counts[full]).tolist(),
        "positive": (hits[full] / counts[full]).tolist(),
        "pairs": counts[full].tolist(),
    }


def calibration_metrics(
    scores: ArrayLike,
    targets: ArrayLike,
    label_names: Sequence[str],
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compute the metrics of `CALIBRATION_METRICS`.

    The calibration error is Σ_b n_b/n·|mean score − share of positives| over bins b (Naeini et al., "Obtaining Well
    Calibrated Probabilities Using Bayesian Binning", AAAI 2015; binary, as in torchmetrics). With few images it is
    above 0 for perfect scores too.

    Args:
        scores: (N, C) in [0, 1].
        targets: (N, C): 1 positive, 0 negative, −1 or NaN unknown, which are left out.
        label_names: The C labels.
        groups: Frequency group of each label; adds `ECE_<group>`.

    Returns:
        The keys of `CALIBRATION_METRICS`; a mean over nothing is None.

    Raises:
        InputError: Shapes or values are wrong.
    """
    scores, targets = _check(scores, targets)
    sums = _bins(scores, targets, BINS)
    by_label = _errors(sums)
    figures: dict[str, Any] = {
        "ECE": _errors(sums.sum(axis=1, keepdims=True))[0],
        "ECE_mean": _mean(by_label),
        "Brier": _brier(scores, targets),
        "ECE_by_label": dict(zip(label_names, by_label, strict=True)),
    }
    if groups is not None:
        for group in GROUPS:
            figures[f"ECE_{group}"] = _mean([e for e, own in zip(by_label, groups, strict=True) if own == group])
    return figures


def _check(scores: ArrayLike, targets: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    scores, targets = check_scores_and_targets(scores, targets)
    if scores.min() < 0 or scores.max() > 1:
        raise InputError(
            f"scores range from {scores.min():g} to {scores.max():g}: give probabilities in [0, 1], not logits"
        )
    return scores, targets


def _bins(scores: np.ndarray, targets: np.ndarray, bins: int) -> np.ndarray:
    """Known pairs, sum of their scores, and positives, of each label and bin: (3, C, bins) float64."""
    edges, sums = np.linspace(0, 1, bins + 1)[1:-1], np.empty((3, scores.shape[1], bins))
    for part in label_parts(*scores.shape):
        known = targets[:, part] >= 0
        own, truth = scores[:, part].astype(np.float64), targets[:, part]
        places = np.searchsorted(edges, own, side="right") + np.arange(own.shape[1]) * bins
        counted, count = places[known], bins * own.shape[1]
        for place, weights in enumerate((None, own[known], truth[known])):
            sums[place, part] = np.bincount(counted, weights, count).reshape(-1, bins)
    return sums


def _errors(sums: np.ndarray) -> list[float | None]:
    """Calibration errors of the labels of `_bins`; None for a label without a known target."""
    counts, score_sums, hits = sums
    apart, pairs = np.abs(score_sums - hits).sum(axis=1).tolist(), counts.sum(axis=1).tolist()
    return [one / count if count else None for one, count in zip(apart, pairs, strict=True)]


def _brier(scores: np.ndarray, targets: np.ndarray) -> float | None:
    total = 0.0
    for part in label_parts(*scores.shape):
        truth = targets[:, part]
        total += float(np.square(scores[:, part].astype(np.float64) - truth)[truth >= 0].sum())
    known = int((targets >= 0).sum())
    return total / known if known else None


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
