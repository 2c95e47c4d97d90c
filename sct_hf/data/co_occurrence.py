"""Which labels are seen together: counts, and the graph of labels that they make."""

import numpy as np


def seen_together(targets: np.ndarray) -> np.ndarray:
    """Count the images that show both of two labels.

    Args:
        targets: (N, C): 1 present, 0 absent, −1 or NaN unknown.

    Returns:
        (C, C) int64, symmetric; the diagonal counts each label's images.
    """
    return _images(targets == 1, targets == 1)


def label_graph(targets: np.ndarray) -> np.ndarray:
    """Estimate P(label j | label i) of every pair from known targets.

    That is n(i and j) / (n(i, j judged) + 1): of the images that show i and in which j was judged, those that show
    j. The graph is KGGR's (Chen et al., TPAMI 2022), whose probabilities are the plain shares. The image more, with
    i and no other label, is ours: with a few images of a label, one coincidence is no certainty (1/2 for one
    image of i that shows j; the more images, the less it counts).

    Args:
        targets: (N, C): 1 present, 0 absent, −1 or NaN unknown; of the images that are trained on.

    Returns:
        (C, C) float32, row i for what is given, the diagonal 0.
    """
    shown = targets == 1  # (N, C)
    judged = shown | (targets == 0)  # (N, C)
    graph = seen_together(targets) / (_images(shown, judged) + 1)  # (C, C)
    np.fill_diagonal(graph, 0)
    return graph.astype(np.float32)


def _images(given: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(C, C) int64: in how many images one of `given` (N, C) and one of `other` (N, C) are true."""
    both = given.astype(np.float32).T @ other.astype(np.float32)  # exact up to 2²⁴ images
    return both.astype(np.int64)
