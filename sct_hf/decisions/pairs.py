"""A slope and a shift for each label's logits, by penalised maximum likelihood of all labels at once."""

from typing import NamedTuple

import numpy as np

from ..metrics.parts import image_parts

_LEAST_SLOPE = 1e-6
_STEPS = 200
_PRECISION = 1e-10
"""A step that should gain less than this share of the loss is the last one. Its error is about the square of that."""

_DAMPING = 1e-12
_ENOUGH = 1e-4
_ROUNDING = 1e-13


class _Losses(NamedTuple):
    """Penalised losses of K labels, with their derivatives by slope and shift.

    Attributes:
        value: (K,).
        gradient: (2, K).
        hessian: (3, K): by slope twice, by slope and shift, by shift twice.
    """

    value: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray


def fit_pairs(logits: np.ndarray, targets: np.ndarray, ridge: float, *, start: np.ndarray | None = None) -> np.ndarray:
    """Fit the slope and shift of each label.

    Minimises Σ log loss + ½·ridge·((slope − 1)² + shift²) over a label's known images (Platt, "Probabilistic Outputs
    for Support Vector Machines", 1999, with a ridge in place of his smoothed targets). The ridge makes the solution
    finite for separable targets too. Each step of Newton's method goes to the least of the quadratic model with a
    slope of at least 1e-6, or part of the way if that loses too much. Labels that have arrived take no part in
    further steps. float64 arrays are of a million pairs at most.

    Args:
        logits: (N, C), finite.
        targets: (N, C): 1, 0, or −1 unknown.
        ridge: Weight of the penalty, above 0.
        start: (2, C) slopes and shifts to start from.

    Returns:
        (2, C) float64: slopes above 0, and shifts.
    """
    pairs = _start(logits) if start is None else start.copy()  # (2, C)
    live = np.arange(logits.shape[1])
    now = _losses(logits, targets, live, pairs, ridge)
    for _ in range(_STEPS):
        step = _step(pairs[:, live], now)
        promised = (now.gradient * step).sum(axis=0)  # (K,) at most 0
        now = _go(logits, targets, live, pairs, now, step, promised, ridge)
        going = -promised > _PRECISION * np.maximum(now.value, 1)
        live, now = live[going], _Losses(*(part[..., going] for part in now))
        if not len(live):
            break
    return pairs


def _start(logits: np.ndarray) -> np.ndarray:
    """Slopes of 1, or less for huge logits, so that their odds are not."""
    largest = np.abs(logits).max(axis=0, initial=0).astype(np.float64)  # (C,)
    slopes = 1 / np.maximum(1, largest / 10)
    return np.stack([np.maximum(slopes, _LEAST_SLOPE), np.zeros(len(slopes))])


def _step(pairs: np.ndarray, now: _Losses) -> np.ndarray:
    """(2, K): from the pairs to the least of the quadratic model, with a slope within its bound."""
    (by_slope, by_shift), (first, mixed, second) = now.gradient, now.hessian
    first, second = first * (1 + _DAMPING), second * (1 + _DAMPING)  # invertible in spite of rounding
    determinant = first * second - mixed**2
    slope = (mixed * by_shift - second * by_slope) / determinant
    slope = np.maximum(slope, _LEAST_SLOPE - pairs[0])
    return np.stack([slope, -(by_shift + mixed * slope) / second])


def _go(
    logits: np.ndarray,
    targets: np.ndarray,
    live: np.ndarray,
    pairs: np.ndarray,
    now: _Losses,
    step: np.ndarray,
    promised: np.ndarray,
    ridge: float,
) -> _Losses:
    """Move the pairs of the labels `live`, by less than the step where it does not lower the loss enough (Armijo)."""
    before, size = pairs[:, live], np.ones(len(live))
    found = _Losses(*(part.copy() for part in now))
    todo = np.arange(len(live))
    while len(todo):
        pairs[:, live[todo]] = before[:, todo] + size[todo] * step[:, todo]
        tried = _losses(logits, targets, live[todo], pairs, ridge)
        for part, new in zip(found, tried, strict=True):
            part[..., todo] = new
        allowed = now.value[todo] * (1 + _ROUNDING) + _ENOUGH * size[todo] * promised[todo]
        todo = todo[tried.value > allowed]
        size[todo] /= 2
    return found


def _losses(logits: np.ndarray, targets: np.ndarray, labels: np.ndarray, pairs: np.ndarray, ridge: float) -> _Losses:
    """The losses of the labels with these numbers (K,), at their pairs of (2, C)."""
    slope, shift = pairs[:, labels]
    whole = len(labels) == logits.shape[1]
    sums = np.zeros((6, len(labels)))
    for part in image_parts(len(logits), len(labels)):
        x, truth = (values[part] if whole else values[part][:, labels] for values in (logits, targets))
        sums += _sums(x.astype(np.float64), truth, slope, shift)
    value, by_slope, by_shift, first, mixed, second = sums
    apart = np.stack([slope - 1, shift])
    return _Losses(
        value + ridge / 2 * (apart**2).sum(axis=0),
        np.stack([by_slope, by_shift]) + ridge * apart,
        np.stack([first + ridge, mixed, second + ridge]),
    )


def _sums(x: np.ndarray, truth: np.ndarray, slope: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Sums over images of the log loss and of its derivatives, (6, K): x (M, K) logits, truth (M, K)."""
    odds = slope * x + shift
    tail = np.exp(-np.abs(odds))
    loss = np.maximum(odds, 0) + np.log1p(tail) - np.where(truth == 1, odds, 0)
    error = np.where(odds >= 0, 1, tail) / (1 + tail) - (truth == 1)
    curved = tail / np.square(1 + tail)
    known = truth >= 0
    if not known.all():
        loss, error, curved = (np.where(known, values, 0) for values in (loss, error, curved))
    bent = curved * x
    return np.stack(
        [
            loss.sum(axis=0),
            np.einsum("mk,mk->k", error, x),
            error.sum(axis=0),
            np.einsum("mk,mk->k", bent, x),
            bent.sum(axis=0),
            curved.sum(axis=0),
        ]
    )
