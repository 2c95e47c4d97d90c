"""Scores of held-out folds as they could have come out with other images and other folds (bootstrap)."""

import numpy as np

_DRAWS = 400


def redrawn(logits: np.ndarray, targets: np.ndarray, folds: np.ndarray, means: np.ndarray, seed: int) -> np.ndarray:
    """Draw the images of each fold, and then the folds, with replacement: the same for all sizes.

    A score is the mean AP over labels of the mean over folds. A bootstrap of K folds is too narrow by √(K/(K−1)),
    which is made good.

    Args:
        logits: (S, N, C), scores of each image after training on each of S sizes.
        targets: (N, C): 1 present, 0 absent, others unknown.
        folds: (N,) from 0 to K − 1: images of a fold were scored by the same models.
        means: (S,) the scores that were measured.
        seed: Seed of the draws.

    Returns:
        (400, S) scores whose mean is `means`.
    """
    rng = np.random.default_rng(seed)
    count = int(folds.max()) + 1
    of_folds = np.empty((_DRAWS, count, len(logits)))
    for fold in range(count):
        rows = np.flatnonzero(folds == fold)
        times = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), _DRAWS)  # (draws, n)
        for size, scores in enumerate(logits):
            of_folds[:, fold, size] = _mean_ap(scores[rows], targets[rows], times)
    chosen = rng.integers(count, size=(_DRAWS, count))
    drawn = of_folds[np.arange(_DRAWS)[:, None], chosen].mean(1)  # (draws, S)
    return np.clip(means + (drawn - drawn.mean(0)) * np.sqrt(count / max(count - 1, 1)), 0, 1)


def _mean_ap(scores: np.ndarray, targets: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The mAP (draws,) of images (n, C) that each draw has so many times (draws, n), over labels with a positive."""
    total, labels = np.zeros(len(times)), np.zeros(len(times))
    for label in range(targets.shape[1]):
        order = np.argsort(-scores[:, label], kind="stable")
        order = order[targets[order, label] >= 0]
        weights = times[:, order]  # (draws, m)
        hits = weights * (targets[order, label] == 1)
        found = np.cumsum(hits, 1)
        precision = found / np.maximum(np.cumsum(weights, 1), 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        some = found[:, -1] > 0 if found.shape[1] else np.zeros(len(times), dtype=bool)
        total[some] += (hits * envelope).sum(1)[some] / found[some, -1]
        labels += some
    return total / np.maximum(labels, 1)
