"""Learning curves: a power law through scores at a few sizes, and what it says of a larger size."""

from dataclasses import dataclass

import numpy as np

_EXPONENTS = np.geomspace(0.05, 1, 60)
_LEAST_ERROR = 0.0003  # of a score at a size, to divide by
SHARE = 0.9
"""Share of the truths that an interval is meant to hold."""


@dataclass(frozen=True)
class PowerLaw:
    """The score a − b·n^−c of n training images.

    Attributes:
        a: Where the law ends for endlessly many images. It may be above 1, since few sizes show no end.
        b: From 0; 0 for a score that does not rise.
        c: The exponent.
    """

    a: float
    b: float
    c: float

    def at(self, sizes: float | np.ndarray) -> np.ndarray:
        """Scores at these numbers of images, in [0, 1]."""
        return np.clip(self.a - self.b * np.asarray(sizes, dtype=float) ** -self.c, 0, 1)


@dataclass(frozen=True)
class Forecast:
    """What a size is expected to give.

    Attributes:
        size: The number of training images.
        score, low, high: The score in [0, 1], and the interval that is meant to hold it nine times in ten.
        gain, gain_low, gain_high: The same for the difference from the size to compare with.
    """

    size: int
    score: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float


def fit_power_law(sizes: np.ndarray, scores: np.ndarray) -> PowerLaw:
    """Least squares of a − b·n^−c with b ≥ 0 and c from 0.05 to 1.

    Power laws of this form: Hestness et al., "Deep Learning Scaling is Predictable, Empirically" (arXiv 1712.00409),
    who measured exponents below 0.5.

    Args:
        sizes: (S,) numbers of training images, at least two different ones.
        scores: (S,) in [0, 1].
    """
    exponents = np.geomspace(_EXPONENTS[0], _EXPONENTS[-1], 2000)
    a, b, errors = _for_exponents(sizes, scores[None], np.ones(len(sizes)), exponents)
    best = int(errors[0].argmin())
    return PowerLaw(float(a[0, best]), float(b[0, best]), float(exponents[best]))


def forecast(sizes: np.ndarray, draws: np.ndarray, size: int, base: int) -> Forecast:
    """What scores at a few sizes say of another size.

    For each draw, exponents from 0.05 to 1 are equally likely beforehand on a logarithmic scale, and are weighed by
    how well the law with this exponent fits. Intervals hold 90 % of these laws. The choice is the project's;
    docs/labelling.md says how often an interval held the truth.

    Args:
        sizes: (S,) numbers of training images.
        draws: (R, S) scores in [0, 1] that could have been measured as well (bootstrap).
        size: The number of images to forecast.
        base: The number of images to which the gain is counted.
    """
    spread = (draws - draws.mean(1, keepdims=True)).std(0)  # (S,) what all sizes share does not bend the curve
    a, b, errors = _for_exponents(sizes, draws, 1 / np.maximum(spread, _LEAST_ERROR) ** 2, _EXPONENTS)
    scores, before = (np.clip(a - b * float(each) ** -_EXPONENTS, 0, 1) for each in (size, base))  # (R, E)
    chances = np.exp(-(errors - errors.min(1, keepdims=True)) / 2)
    chances /= chances.sum(1, keepdims=True)
    return Forecast(size, *_quantiles(scores, chances), *_quantiles(scores - before, chances))


def _for_exponents(
    sizes: np.ndarray, scores: np.ndarray, weights: np.ndarray, exponents: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best a and b for each of E exponents and R rows of scores (R, S), and their squared errors: three (R, E)."""
    powers = (sizes / sizes.min()) ** -exponents[:, None]  # (E, S); b is found in units of the smallest size
    share = weights / weights.sum()  # (S,)
    centre, level = powers @ share, scores @ share  # (E,), (R,)
    moved = powers - centre[:, None]  # (E, S)
    b = np.maximum(-(scores * share) @ moved.T / (moved**2 @ share), 0)  # (R, E)
    a = level[:, None] + b * centre  # (R, E)
    errors = (weights * (scores[:, None] - a[..., None] + b[..., None] * powers) ** 2).sum(-1)
    return a, b * float(sizes.min()) ** exponents, errors


def _quantiles(values: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """The median, and the ends of the interval."""
    order = np.argsort(values, axis=None, kind="stable")
    reached = np.cumsum(weights.ravel()[order])
    places = np.searchsorted(reached, reached[-1] * np.array([0.5, (1 - SHARE) / 2, (1 + SHARE) / 2]))
    middle, low, high = values.ravel()[order[places]]
    return float(middle), float(low), float(high)
