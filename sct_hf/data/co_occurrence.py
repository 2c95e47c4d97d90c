"""Counts of labels that occur together."""

import numpy as np


def seen_together(targets: np.ndarray) -> np.ndarray:
    """Count the images that show both of two labels.

    Args:
        targets: (N, C): 1 present, 0 absent, −1 or NaN unknown.

    Returns:
        (C, C) int64, symmetric; the diagonal counts each label's images.
    """
    shown = (targets == 1).astype(np.float32)  # exact up to 2²⁴ images
    return (shown.T @ shown).astype(np.int64)
