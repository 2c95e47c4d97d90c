"""Which images to label next."""

from collections.abc import Sequence

import numpy as np

NEAR = 0.95
"""Cosine similarity of two images from which one of them is enough."""

_NAMED = 3  # labels in a reason
_LEAST = 0.1  # of a score that a reason names


def choose(order: Sequence[int] | np.ndarray, embeddings: np.ndarray, count: int, near: float = NEAR) -> list[int]:
    """Take images in order, but leave out those that show nearly the same as one taken before.

    Images that were left out follow if there are not enough others.

    Args:
        order: Rows of `embeddings`, the first to label first.
        embeddings: (N, D) float16 or float32.
        count: Most images to take.
        near: Cosine similarity, after the mean over all images is subtracted, from which two images are nearly the
            same.

    Returns:
        At most `count` rows.
    """
    centre = embeddings.mean(0, dtype=np.float64).astype(np.float32)  # (D,)
    taken: list[int] = []
    left: list[int] = []
    units = np.empty((min(count, len(order)), embeddings.shape[1]), dtype=np.float32)
    for row in map(int, order):
        if len(taken) == count:
            break
        unit = embeddings[row].astype(np.float32) - centre
        unit /= max(float(np.linalg.norm(unit)), 1e-12)
        if taken and float((units[: len(taken)] @ unit).max()) >= near:
            left.append(row)
            continue
        units[len(taken)] = unit
        taken.append(row)
    return [*taken, *left[: count - len(taken)]]


def random_order(count: int, seed: int) -> np.ndarray:
    """N rows in a random order, (N,) int64."""
    return np.random.default_rng(seed).permutation(count)


def uncertainty(scores: np.ndarray) -> np.ndarray:
    """Sum over the labels of the entropy of their scores, in bits: how much labels of an image would tell.

    Args:
        scores: (N, C) in [0, 1].

    Returns:
        (N,) float64, from 0 to C.
    """
    sure = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    return -(sure * np.log2(sure) + (1 - sure) * np.log2(1 - sure)).sum(1)


def uncertain_order(scores: np.ndarray) -> np.ndarray:
    """Rows by falling `uncertainty`, (N,) int64."""
    return np.argsort(-uncertainty(scores), kind="stable")


def unsure_labels(scores: np.ndarray, label_names: Sequence[str]) -> list[str]:
    """The labels that add most to an image's uncertainty, with their scores.

    Args:
        scores: (C,) in [0, 1], of one image.
        label_names: C names.
    """
    order = np.argsort(np.abs(scores - 0.5), kind="stable")[:_NAMED]
    return [f"{label_names[label]} {scores[label]:.2f}" for label in order if _LEAST <= scores[label] <= 1 - _LEAST]
