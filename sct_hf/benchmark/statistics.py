"""Means over repeated runs, and paired differences."""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Mean and sample standard deviation (n − 1) of n values; the deviation of one value is NaN."""

    mean: float
    deviation: float
    n: int


class PairedDifference(NamedTuple):
    """Mean difference of n pairs and its standard error s / √n; the error of one pair is NaN."""

    mean: float
    standard_error: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    array = np.asarray(values, dtype=float)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else float("nan")
    return Spread(float(array.mean()), deviation, len(array))


def paired_difference(values: Mapping[Hashable, float], base: Mapping[Hashable, float]) -> PairedDifference | None:
    """Difference of `values` from `base` over the keys that both have, such as (fold, seed).

    The standard error treats pairs as independent. Runs on one fold share images and folds overlap, so it is an
    underestimate.

    Args:
        values: Score by key.
        base: Score by key.

    Returns:
        The difference, or None if they have no key in common.
    """
    keys = [key for key in values if key in base]
    if not keys:
        return None
    found = spread([values[key] - base[key] for key in keys])
    return PairedDifference(found.mean, found.deviation / found.n**0.5, found.n)
