"""Slow references that several tests of objectives share."""

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def asl(logits: np.ndarray, targets: np.ndarray, gamma_neg: float) -> float:
    """Mean over entries that are numbers, from the formula, entry by entry (γ₊ = 0)."""
    losses = []
    for z, y in zip(logits.ravel(), targets.ravel(), strict=True):
        if not np.isnan(y):
            p = sigmoid(z)
            focus = (1 - y * p - (1 - y) * (1 - p)) ** ((1 - y) * gamma_neg)
            losses.append(-focus * (y * np.log(p) + (1 - y) * np.log(1 - p)))
    return float(np.mean(losses))
