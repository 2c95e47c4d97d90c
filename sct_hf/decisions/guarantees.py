"""Thresholds whose precision, recall or share of false tags holds with confidence, for any distribution.

All guarantees are for images like those of the fit, whose scores the model was not trained on.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.stats import binom

_STEPS = 200


def mistakes_allowed(most: int, level: float, confidence: float) -> np.ndarray:
    """How many of n may be wrong where at least `level` of all are to be right, for each n up to `most`.

    Returns:
        (most + 1,) int64, not falling: the greatest m with P(Binomial(n, 1 − level) ≤ m) ≤ 1 − confidence; −1 if no
        m has that.
    """
    counts = np.arange(1, most + 1)
    reached = binom.ppf(1 - confidence, counts, 1 - level)  # the least m whose probability is not less
    allowed = np.where(binom.cdf(reached, counts, 1 - level) <= 1 - confidence, reached, reached - 1)
    return np.concatenate([[-1], allowed]).astype(np.int64)


def precision_thresholds(scores: np.ndarray, targets: np.ndarray, level: float, confidence: float) -> np.ndarray:
    """The lowest threshold of each label whose precision is at least `level`.

    Learn then test (Angelopoulos, Bates, Candès, Jordan & Lei, 2021) with fixed-sequence testing: the k highest scores
    are tested for growing k, by the exact binomial test of "the precision is below the level", and the first k that
    does not pass ends the sequence. It starts with the fewest images that can pass, all of them positive. If precision
    grows with the threshold, the chance of any wrong threshold is at most 1 − confidence, and all thresholds above the
    chosen one hold with it.

    Args:
        scores: (M, K) in [0, 1].
        targets: (M, K): 1, 0, or −1 unknown.
        level: The precision, in (0, 1).
        confidence: Chance that the guarantee holds, in (0, 1).

    Returns:
        (K,) float64; infinite if the images are too few or the scores too poor for it.
    """
    ranked, hits, ends = _ranked(scores, targets)
    ranks = np.arange(1, len(scores) + 1)[:, None]
    allowed = mistakes_allowed(len(scores), level, confidence)[1:, None]
    tested = ends & (allowed >= 0)
    failed = np.logical_or.accumulate(tested & (ranks - hits > allowed), axis=0)
    return _below(ranked, np.where(tested & ~failed, ranks, 0).max(axis=0, initial=0))


def recall_thresholds(scores: np.ndarray, targets: np.ndarray, level: float, confidence: float) -> np.ndarray:
    """The highest threshold of each label whose recall is at least `level`.

    The exact tolerance limit of an order statistic (Wilks, 1941): below the j-th lowest score of n positives lies at
    most 1 − level of all positives with a confidence of 1 − P(Binomial(n, 1 − level) < j).

    Args and Returns: as for `precision_thresholds`.
    """
    ranked, hits, ends = _ranked(scores, targets)
    positives = (targets == 1).sum(axis=0)  # (K,)
    missed = mistakes_allowed(len(scores), level, confidence)[positives]
    tags = (ends & (hits >= positives - missed)).argmax(axis=0) + 1
    return _below(ranked, np.where(missed >= 0, tags, 0))


def false_tags_threshold(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], level: float, confidence: float
) -> float | None:
    """The lowest threshold for all labels whose mean share of false tags is at most `level`.

    The share of an image is its false tags / its tags, 0 without tags; unknown pairs are no tags. Learn then test with
    fixed-sequence testing from the highest of 199 thresholds down, by the p-value of Hoeffding and Bentkus (section
    3.2 of the paper).

    Args:
        parts: Scores (N, K) and targets (N, K), 1, 0, or −1 unknown, of the labels, some at a time.
        level: The greatest mean share, in (0, 1).
        confidence: Chance that the guarantee holds, in (0, 1).

    Returns:
        The threshold, or None if the guarantee is not reachable.
    """
    thresholds, best = np.arange(1, _STEPS) / _STEPS, None
    counts: Any = 0
    for scores, targets in parts:
        counts = counts + _tags_reaching(scores, targets, thresholds)
    tags, false = counts
    for place in reversed(range(len(thresholds))):
        share = _mean_share(false[:, place], tags[:, place])
        if hoeffding_bentkus(share, len(tags), level) > 1 - confidence:
            break
        if tags[:, place].any():
            best = float(thresholds[place])
    return best


def _tags_reaching(scores: np.ndarray, targets: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Tags and false tags of each image at each of T rising thresholds, (2, N, T)."""
    reached = np.searchsorted(thresholds, scores, side="right")  # (N, K): how many thresholds
    cells = reached + np.arange(len(scores))[:, None] * (len(thresholds) + 1)
    shape = (len(scores), len(thresholds) + 1)
    counts = (np.bincount(cells[chosen], minlength=math.prod(shape)) for chosen in (targets >= 0, targets == 0))
    return np.stack([count.reshape(shape)[:, ::-1].cumsum(axis=1)[:, -2::-1] for count in counts])


def false_tag_share(tags: np.ndarray, targets: np.ndarray) -> float:
    """Mean over images of false tags / tags, 0 without tags: tags (N, C) bool, of known pairs; targets (N, C)."""
    return _mean_share((tags & (targets == 0)).sum(axis=1), tags.sum(axis=1))


def _mean_share(false: np.ndarray, tags: np.ndarray) -> float:
    return float(np.divide(false, tags, out=np.zeros(len(tags)), where=tags > 0).mean())


def hoeffding_bentkus(mean: float, count: int, level: float) -> float:
    """P-value of "the expectation of a loss in [0, 1] is above `level`" from `count` losses of this mean."""
    capped = min(mean, level)
    exponent = (1 - capped) * math.log((1 - capped) / (1 - level)) if capped < 1 else 0.0
    exponent += capped * math.log(capped / level) if capped > 0 else 0.0
    bentkus = math.e * binom.cdf(math.ceil(count * mean - 1e-9), count, level)
    return float(min(1.0, math.exp(-count * exponent), bentkus))


def _ranked(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores from high to low, positives so far, and whether the score changes after the place: (M, K) each.

    Unknown pairs come last and have a score of 0. No threshold lies there.
    """
    known = targets >= 0
    order = np.argsort(np.where(known, -scores, 1), axis=0, kind="stable")
    ranked = np.take_along_axis(np.where(known, scores, 0), order, axis=0)
    hits = np.take_along_axis(targets == 1, order, axis=0).cumsum(axis=0)
    left = known.sum(axis=0) - np.arange(1, len(scores) + 1)[:, None]  # known pairs after each place
    changes = np.ones(ranked.shape, dtype=bool)
    changes[:-1] = ranked[1:] != ranked[:-1]
    return ranked, hits, (left == 0) | (changes & (left > 0))


def _below(ranked: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Thresholds for the first `tags` (K,) scores, half-way to the next, so that rounding cannot move one across.

    Infinite for no tags.
    """
    padded = np.concatenate([ranked, np.zeros((1, ranked.shape[1]))])
    lowest, following = (
        np.take_along_axis(padded, place[None], axis=0)[0] for place in (np.maximum(tags - 1, 0), tags)
    )
    return np.where(tags > 0, (lowest + following) / 2, np.inf)
