"""A few images of each label."""

import numpy as np

from sct_hf.errors import InputError


def few_shot_rows(targets: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Draw images until each label has `shots` of them.

    Labels are processed from the rarest on. Each draws images at random until it has enough, counting images drawn for
    other labels. A frequent label may get more than `shots`, since an image counts for all its labels (as usual in the
    multi-label literature).

    Args:
        targets: (N, C): 1 present, 0 absent, −1 or NaN unknown.
        shots: Images per label; a label with fewer uses all.
        seed: Seed of the draw, which otherwise depends only on the targets.

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
