"""Thresholds whose precision, recall or share of false tags holds with confidence, for any distribution.

All guarantees are for images like those of the fit, whose scores the model was not trained on.
"""

import math

import numpy as np
from scipy.stats import binom

_STEPS = 200


def precision_threshold(scores: np.ndarray, targets: np.ndarray, level: float, confidence: float) -> float | None:
    """The lowest threshold whose precision is at least `level`.

    Learn then test (Angelopoulos, Bates, Candès, Jordan & Lei, 2021) with fixed-sequence testing: the k highest scores
    are tested for growing k, by the exact binomial test of "the precision is below the level", and the first k that
    does not pass ends the sequence. It starts with the fewest images that can pass, all of them positive. If precision
    grows with the threshold, the chance of any wrong threshold is at most 1 − confidence, and all thresholds above the
    chosen one hold with it.

    Args:
        scores: (M,).
        targets: (M,) in {1, 0}.
        level: The precision, in (0, 1).
        confidence: Chance that the guarantee holds, in (0, 1).

    Returns:
        The threshold, or None if the images are too few or the scores too poor for it.
    """
    ranked, hits, ends = _ranked(scores, targets)
    least = math.ceil(math.log(1 - confidence) / math.log(level))
    ends = ends[ends >= least]
    passed = binom.cdf(ends - hits[ends - 1], ends, 1 - level) <= 1 - confidence
    count = len(ends) if passed.all() else int(passed.argmin())
    return _below(ranked, int(ends[count - 1])) if count else None


def recall_threshold(scores: np.ndarray, targets: np.ndarray, level: float, confidence: float) -> float | None:
    """The highest threshold whose recall is at least `level`.

    The exact tolerance limit of an order statistic (Wilks, 1941): below the j-th lowest score of n positives lies at
    most 1 − level of all positives with a confidence of 1 − P(Binomial(n, 1 − level) < j).

    Args and Returns: as for `precision_threshold`.
    """
    ranked, hits, ends = _ranked(scores, targets)
    positives = int(hits[-1])
    missed = np.arange(positives + 1)  # j − 1
    allowed = binom.cdf(missed, positives, 1 - level) <= 1 - confidence
    if not allowed[0]:
        return None
    wanted = positives - int(np.flatnonzero(allowed)[-1])
    return _below(ranked, int(ends[np.searchsorted(hits[ends - 1], wanted)]))


def false_tags_threshold(scores: np.ndarray, targets: np.ndarray, level: float, confidence: float) -> float | None:
    """The lowest threshold for all labels whose mean share of false tags is at most `level`.

    The share of an image is its false tags / its tags, 0 without tags; unknown pairs are no tags. Learn then test with
    fixed-sequence testing from the highest of 199 thresholds down, by the p-value of Hoeffding and Bentkus (section
    3.2 of the paper).

    Args:
        scores: (N, C).
        targets: (N, C): 1, 0, or −1 unknown.
        level: The greatest mean share, in (0, 1).
        confidence: Chance that the guarantee holds, in (0, 1).

    Returns:
        The threshold, or None if the guarantee is not reachable.
    """
    known, best = targets >= 0, None
    for threshold in np.arange(_STEPS - 1, 0, -1) / _STEPS:
        tags = known & (scores >= threshold)
        if hoeffding_bentkus(false_tag_share(tags, targets), len(tags), level) > 1 - confidence:
            break
        if tags.any():
            best = float(threshold)
    return best


def false_tag_share(tags: np.ndarray, targets: np.ndarray) -> float:
    """Mean over images of false tags / tags, 0 without tags: tags (N, C) bool, of known pairs; targets (N, C)."""
    counts, false = tags.sum(axis=1), (tags & (targets == 0)).sum(axis=1)  # (N,)
    return float(np.divide(false, counts, out=np.zeros(len(counts)), where=counts > 0).mean())


def hoeffding_bentkus(mean: float, count: int, level: float) -> float:
    """P-value of "the expectation of a loss in [0, 1] is above `level`" from `count` losses of this mean."""
    capped = min(mean, level)
    exponent = (1 - capped) * math.log((1 - capped) / (1 - level)) if capped < 1 else 0.0
    exponent += capped * math.log(capped / level) if capped > 0 else 0.0
    bentkus = math.e * binom.cdf(math.ceil(count * mean - 1e-9), count, level)
    return float(min(1.0, math.exp(-count * exponent), bentkus))


def _ranked(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (M,) from high to low, positives among the first k (M,), and each k where the score changes after it."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, len(ranked))
    return ranked, np.cumsum(targets[order] == 1), ends


def _below(ranked: np.ndarray, tags: int) -> float:
    """A threshold for the first `tags` scores, half-way to the next, so that rounding cannot move a score across."""
    following = ranked[tags] if tags < len(ranked) else 0.0
    return float((ranked[tags - 1] + following) / 2)
