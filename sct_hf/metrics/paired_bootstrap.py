"""Whether one model is better than another on the same images: a paired bootstrap."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .functional import check_scores_and_targets

RESAMPLES = 1000
_ENTRIES = 4_000_000  # of an array of counts by resample and image: 16 MB


class Interval(NamedTuple):
    """A figure of two models on the same images.

    Attributes:
        one, two: The figure of each, on all images; None if it is not defined there.
        low, high: Ends of the 95 % interval of the difference, two − one; None if it is not defined.
    """

    one: float | None
    two: float | None
    low: float | None
    high: float | None

    @property
    def difference(self) -> float | None:
        """Two − one."""
        return None if self.one is None or self.two is None else self.two - self.one


class _Ranking:
    """The AP of one label under many weightings of its images.

    Sums of weights between the ends of groups of equal scores are all that precision and recall need. Groups without a
    positive lower the precision, so they never set its envelope.
    """

    def __init__(self, scores: np.ndarray, targets: np.ndarray) -> None:
        known = np.flatnonzero(targets >= 0)
        order = known[np.argsort(-scores[known], kind="stable")]
        ranked, positive = scores[order], targets[order] == 1
        last = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]  # of each group of equal scores
        ends = np.flatnonzero(last)
        ends = ends[np.diff(np.cumsum(positive)[ends], prepend=0) > 0]
        kept = ends[-1] + 1 if len(ends) else 0
        self.order, self.positive = order[:kept], positive[:kept].astype(np.float32)
        self.starts = np.append(0, ends[:-1] + 1)

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """The AP (R,) for weights (R, N); NaN where no positive image has any."""
        if not len(self.order):
            return np.full(len(weights), np.nan)
        ranked = weights[:, self.order]  # (R, M)
        total = np.cumsum(np.add.reduceat(ranked, self.starts, axis=1), axis=1, dtype=np.float64)
        gained = np.add.reduceat(ranked * self.positive, self.starts, axis=1).astype(np.float64)
        hits = np.cumsum(gained, axis=1)
        precision = hits / np.maximum(total, 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(invalid="ignore"):
            return (gained * envelope).sum(axis=1) / hits[:, -1]


class _Figures:
    """The figures of one model under many weightings of its images."""

    def __init__(self, scores: np.ndarray, targets: np.ndarray, threshold: ArrayLike) -> None:
        known, positive = targets >= 0, targets == 1
        predicted = known & (scores >= np.asarray(threshold, dtype=scores.dtype))
        self.rankings = [_Ranking(*pair) for pair in zip(scores.T, targets.T, strict=True)]
        self.counts = [part.astype(np.float32) for part in (predicted & positive, predicted, positive)]  # (N, C)
        rated = known.any(axis=1)
        squares = np.where(known, np.square(scores - positive), 0).sum(axis=1)
        self.shares = [(((predicted == positive).all(axis=1) & rated), rated), (squares, known.sum(axis=1))]

    def of(self, weights: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Figures (R,) by name, and AP (R, C), for weights (R, N) float32."""
        by_label = np.stack([ranking.average_precision(weights) for ranking in self.rankings], axis=1)
        hits, guesses, truths = (weights @ part for part in self.counts)  # (R, C)
        counted = truths > 0
        labels = counted.sum(axis=1)
        cp = _ratio((_ratio(hits, guesses) * counted).sum(axis=1), labels)
        cr = _ratio((_ratio(hits, truths) * counted).sum(axis=1), labels)
        op, recall = (_ratio(hits.sum(axis=1), part.sum(axis=1)) for part in (guesses, truths))
        exact, brier = (_ratio(weights @ part.astype(np.float32), weights @ of) for part, of in self.shares)
        figures = {
            "mAP": np.where(labels > 0, _ratio(np.nansum(by_label, axis=1), labels), np.nan),
            "OF1": _ratio(2 * op * recall, op + recall),
            "CF1": _ratio(2 * cp * cr, cp + cr),
            "OP": op,
            "OR": recall,
            "exact_match": exact,
            "Brier": brier,
        }
        return figures, by_label


def paired_bootstrap(
    one: ArrayLike,
    two: ArrayLike,
    targets: ArrayLike,
    *,
    threshold: ArrayLike = 0.5,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[dict[str, Interval], list[Interval]]:
    """Compare the scores of two models on the same images.

    Images are drawn with replacement, the same ones for both models, and the figures computed anew on each draw
    (paired bootstrap, Efron & Tibshirani, 1993, with percentile intervals). mAP averages over the labels that a draw
    has a positive of. The figures are those of `multilabel_metrics` and `calibration_metrics`.

    Args:
        one: (N, C) scores in [0, 1] of the first model.
        two: (N, C) scores of the second.
        targets: (N, C): 1 positive, 0 negative, −1 or NaN unknown.
        threshold: Score from which a label counts as predicted, a number or (C,), for both models.
        resamples: Number of draws.
        seed: Their seed.

    Returns:
        The intervals of mAP, OF1, CF1, OP, OR, exact_match and Brier, by name; and those of the C labels' AP.

    Raises:
        InputError: Shapes or values are wrong.
    """
    pairs = [check_scores_and_targets(scores, targets) for scores in (one, two)]
    models = [_Figures(scores, truth, threshold) for scores, truth in pairs]
    images = len(pairs[0][0])
    whole = np.ones((1, images), dtype=np.float32)
    values = [model.of(whole) for model in models]
    names = list(values[0][0])
    differences = []
    for weights in _draws(images, resamples, np.random.default_rng(seed)):
        (first, first_ap), (second, second_ap) = (model.of(weights) for model in models)
        whole_set = np.stack([second[name] - first[name] for name in names], axis=1)
        differences.append(np.concatenate([whole_set, second_ap - first_ap], axis=1))
    spread = np.concatenate(differences)  # (resamples, figures + C)
    points = [np.concatenate([[figures[name][0] for name in names], ap[0]]) for figures, ap in values]
    intervals = [_interval(*column) for column in zip(*points, spread.T, strict=True)]
    return dict(zip(names, intervals, strict=False)), intervals[len(names) :]


def _draws(images: int, resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each image is drawn, (R, N) float32, for some of the resamples at a time."""
    at_once = max(1, _ENTRIES // images)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        places = generator.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(places.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float32)


def _interval(one: float, two: float, spread: np.ndarray) -> Interval:
    spread = spread[np.isfinite(spread)]
    defined = np.isfinite(one) and np.isfinite(two) and len(spread) > 0
    low, high = np.quantile(spread, [0.025, 0.975]).tolist() if defined else (None, None)
    first, second = (float(value) if np.isfinite(value) else None for value in (one, two))
    return Interval(first, second, low, high)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient of two arrays of one shape, or 0 if the denominator is 0."""
    there = denominator != 0
    return np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=there)
