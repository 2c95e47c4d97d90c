"""A few images of each label."""

import numpy as np

from sct_hf.errors import InputError


def few_shot_rows(targets: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Draw images until each label has `shots` of them.

    Labels are gone through from the rarest on; each takes images at random until it has its share, counting those
    that came in for another label. So a frequent label may get more than `shots`, as an image brings all its labels
    (the literature draws likewise where images have several labels).

    Args:
        targets: (N, C): 1 present, 0 absent, −1 or NaN unknown.
        shots: Images a label; a label with fewer gives all it has.
        seed: Decides, with the targets alone, which images are drawn.

    Returns:
        The rows drawn, increasing.

    Raises:
        InputError: No label is present in any image.
    """
    positive = targets == 1  # (N, C)
    counts = positive.sum(axis=0)  # (C,)
    if not counts.any():
        raise InputError(f"shots is {shots}, but no training image shows any label")
    order = np.random.default_rng(seed).permutation(len(targets))
    chosen = np.zeros(len(targets), dtype=bool)
    for label in np.argsort(counts, kind="stable"):
        missing = shots - int(positive[chosen, label].sum())
        rows = order[positive[order, label] & ~chosen[order]]
        chosen[rows[: max(missing, 0)]] = True
    return np.flatnonzero(chosen)
