"""Metrics of multi-label classification on NumPy arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError

METRICS = {
    "mAP": "mean of AP over the labels that have a positive; None if no label has one",
    "mAP_11point": "the same mean of the 11-point AP (VOC2007): precision envelope at recall 0, 0.1, …, 1",
    "mAP_sklearn": "the same mean of sklearn's average precision (no envelope)",
    "AP": "{label: AP}: all-point area under the precision envelope (VOC2012); None for a label without a positive",
    "CP": "mean over labels of precision at the threshold",
    "CR": "mean over labels of recall at the threshold",
    "CF1": "harmonic mean of CP and CR (CLSL, CSRA, ML-GCN)",
    "CF1_mean": "mean over labels of F1 at the threshold (ASL, ML-Decoder)",
    "OP": "precision over all (image, label) pairs together",
    "OR": "recall over all (image, label) pairs together",
    "OF1": "harmonic mean of OP and OR",
    "CP_top3": "CP when only an image's three highest scores may be predicted, if they reach the threshold",
    "CR_top3": "CR of the top three",
    "CF1_top3": "CF1 of the top three",
    "CF1_mean_top3": "CF1_mean of the top three",
    "OP_top3": "OP of the top three",
    "OR_top3": "OR of the top three",
    "OF1_top3": "OF1 of the top three",
    "exact_match": "fraction of images whose known labels are all predicted right, of the images with a known label",
    "num_images": "number of rows",
}
"""Every key of `multilabel_metrics` and what it means. All but `AP` and `num_images` are fractions in [0, 1]."""

TOP = 3


def multilabel_metrics(
    scores: ArrayLike,
    targets: ArrayLike,
    threshold: float | ArrayLike = 0.5,
    label_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compute the metrics that the literature on multi-label classification reports.

    A target of -1 or NaN is unknown: all metrics ignore the pair. The order of rows and labels does not matter: equal
    scores share one threshold (as in sklearn), and a score is in its image's top three if fewer than three known
    labels score strictly higher. Ties for third place all count; `topk` in public code picks one of them.

    Zero denominators: a label that is never predicted has precision 0 and counts (CLSL). Any other 0/0 of the
    class-wise (C…) and overall (O…) metrics is 0 too. Class-wise means and mAP average over labels with a positive;
    false positives of the others still count in OP. AP and mAP without any positive are None, which is valid JSON.

    Sources: the protocol, the two CF1, top-3 (CLSL); 11-point AP and precision envelope (VOC development kit).

    Args:
        scores: (N, C) real numbers on any scale, not NaN; infinities are allowed.
        targets: (N, C): 1 positive, 0 negative, -1 or NaN unknown.
        threshold: A score at or above it is a prediction. A number, or one per label (C,), on the scale of the
            scores (0.5 for probabilities, 0 for logits); rounded to their dtype.
        label_names: C different names, the keys of `AP`; "0", "1", … if not given.

    Returns:
        The keys of `METRICS`, in that order, with Python floats, None, and an int for `num_images`.

    Raises:
        InputError: An argument has a wrong shape or value; the message names it.
    """
    scores, targets = check_scores_and_targets(scores, targets)
    limits = _check_threshold(threshold, scores)
    names = _check_names(label_names, scores.shape[1])
    known, positive = targets >= 0, targets == 1
    counted = positive.any(axis=0)  # (C,)

    precisions = np.full((3, len(names)), np.nan)  # (3, C)
    for label in np.flatnonzero(counted):
        rows = known[:, label]
        precisions[:, label] = _average_precisions(scores[rows, label], positive[rows, label])
    means = precisions[:, counted].mean(axis=1).tolist() if counted.any() else [None] * 3
    per_label = precisions[0].tolist()

    predicted = known & (scores >= limits)
    top = predicted & _among_highest(scores, known)
    rated = known.any(axis=1)
    exact = (predicted == positive).all(axis=1) & rated
    return {
        **dict(zip(("mAP", "mAP_11point", "mAP_sklearn"), means, strict=True)),
        "AP": {name: ap if has else None for name, ap, has in zip(names, per_label, counted, strict=True)},
        **_decision_metrics(predicted, positive, counted),
        **{f"{key}_top{TOP}": value for key, value in _decision_metrics(top, positive, counted).items()},
        "exact_match": float(_ratio(exact.sum(), rated.sum())),
        "num_images": len(scores),
    }


def check_scores_and_targets(scores: ArrayLike, targets: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Check and convert the arguments of `multilabel_metrics`.

    Returns:
        Scores (N, C) float32, or wider if float32 cannot hold their dtype; targets (N, C) int8 in {1, 0, -1}.

    Raises:
        InputError: The shapes differ or are not (N, C) with N, C ≥ 1, a score is NaN, or a target is not 0, 1, -1
            or NaN.
    """
    scores, targets = _as_real(scores, "scores"), _as_real(targets, "targets")
    if scores.ndim != 2 or 0 in scores.shape:
        raise InputError(f"scores has shape {scores.shape}; give (N, C), at least one image and one label")
    if targets.shape != scores.shape:
        raise InputError(f"targets has shape {targets.shape} but scores has {scores.shape}; give both as (N, C)")
    bad = np.isnan(scores)
    if bad.any():
        row, label = np.argwhere(bad)[0]
        raise InputError(f"scores has {bad.sum()} NaN, the first at row {row}, label {label}; give real numbers")
    unknown = np.isnan(targets) | (targets == -1)
    bad = ~(unknown | (targets == 0) | (targets == 1))
    if bad.any():
        row, label = np.argwhere(bad)[0]
        raise InputError(
            f"targets has {bad.sum()} values outside 0, 1, -1 and NaN, the first {targets[row, label]} at row {row}, "
            f"label {label}; give 1 positive, 0 negative, -1 or NaN unknown, and round soft targets"
        )
    return scores, np.where(unknown, -1, targets == 1).astype(np.int8)


def _as_real(values: ArrayLike, field: str) -> np.ndarray:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "buif":
            array = array.astype(np.float64)
        return array.astype(np.promote_types(np.float32, array.dtype), copy=False)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{field} is no array of real numbers ({error}); give one of NumPy's real dtypes") from error


def _check_threshold(threshold: float | ArrayLike, scores: np.ndarray) -> np.ndarray:
    limits = _as_real(threshold, "threshold").astype(scores.dtype)
    if limits.shape not in ((), scores.shape[1:]):
        raise InputError(f"threshold has shape {limits.shape}; give a number, or {scores.shape[1:]}: one a label")
    if np.isnan(limits).any():
        raise InputError("threshold has a NaN; give real numbers")
    return limits


def _check_names(label_names: Sequence[str] | None, count: int) -> list[str]:
    names = [str(label) for label in (range(count) if label_names is None else label_names)]
    if len(names) != count:
        raise InputError(f"label_names has {len(names)} names but scores has {count} labels; give one name for each")
    if len(set(names)) != count:
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"label_names has {twice[:5]} more than once; give different names")
    return names


def _average_precisions(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """All-point, 11-point and sklearn's AP of one label: scores (M,), positive (M,) bool with at least one True."""
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)  # last of each group of equal scores
    hits = np.cumsum(positive[order])[ends]
    precision = hits / (ends + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    gained = np.diff(hits, prepend=0)
    at_recall = np.searchsorted(10 * hits, np.arange(11) * hits[-1])  # in integers: 3 of 10 is a recall of 0.3 exactly
    return gained @ envelope / hits[-1], envelope[at_recall].mean(), gained @ precision / hits[-1]


def _among_highest(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N, C) bool: fewer than `TOP` known labels of the image score higher."""
    if scores.shape[1] <= TOP:
        return known
    candidates = np.where(known, scores, -np.inf)
    return candidates >= np.partition(candidates, -TOP, axis=1)[:, -TOP, None]


def _decision_metrics(predicted: np.ndarray, positive: np.ndarray, counted: np.ndarray) -> dict[str, float]:
    """CP … OF1 of decisions: predicted, positive (N, C) bool; counted (C,) bool, the labels in class means."""
    hits = (predicted & positive).sum(axis=0)  # (C,)
    guesses, truths = predicted.sum(axis=0), positive.sum(axis=0)  # (C,)

    def class_mean(values: np.ndarray) -> float:
        return float(_ratio(values[counted].sum(), counted.sum()))

    cp, cr = class_mean(_ratio(hits, guesses)), class_mean(_ratio(hits, truths))
    op, or_ = float(_ratio(hits.sum(), guesses.sum())), float(_ratio(hits.sum(), truths.sum()))
    return {
        "CP": cp,
        "CR": cr,
        "CF1": float(_ratio(2 * cp * cr, cp + cr)),
        "CF1_mean": class_mean(_ratio(2 * hits, guesses + truths)),
        "OP": op,
        "OR": or_,
        "OF1": float(_ratio(2 * op * or_, op + or_)),
    }


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """The quotient, or 0 if the denominator is 0."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)
