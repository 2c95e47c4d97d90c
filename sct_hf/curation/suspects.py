"""Labels that are probably wrong, from out-of-fold scores.

The given label of an image is taken for a noisy reading of the true one: absent where the label is there with the
*missing rate*, present where it is not with the *spurious rate*. The probability that a label is given then is

    P(given | z) = spurious + (1 − missing − spurious) · σ(z),  z = slope · logit + shift of the label,

a logistic curve between two levels: item response theory's model of four parameters (Barton and Lord, 1981), and
Platt's calibration (1999) where both rates are 0. Labels with sure scores tell the rates: how many are given at the
lowest scores, and how many are not at the highest (anchor points; Patrini et al., CVPR 2017). Bayes' rule then says
how probable it is that a given label is wrong. The combination, and ranking by it, are this project's.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

_SHIFT_SPREAD = 2.0  # standard deviation of labels' shifts about their mean, in the prior
_RATE = -4.0  # mean of the rates' log-odds in the prior (1.8 %); it spans from 0.1 % to 30 %
_RATE_SPREAD = 3.0


@dataclass(frozen=True)
class NoiseModel:
    """How given labels follow from true ones, fitted to all labels of a data set.

    Attributes:
        slope: Positive factor of the logits.
        shifts: (C,) float64, the shift of each label.
        missing: Probability that a label which is there is not given.
        spurious: Probability that a label which is not there is given.
    """

    slope: float
    shifts: np.ndarray
    missing: float
    spurious: float

    def truth(self, logits: np.ndarray) -> np.ndarray:
        """Log-odds (N, C) float64 that each label is there, whatever is given."""
        return self.slope * logits.astype(np.float64) + self.shifts

    def wrong(self, logits: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Probability that each given label is wrong.

        Args:
            logits: (N, C) by models that did not see the image.
            given: (N, C): 1 present, 0 absent, -1 unknown.

        Returns:
            (N, C) float64 in [0, 1]; NaN where the label is unknown.
        """
        there = self.truth(logits)
        if_present = np.log(self.spurious) - np.log1p(-self.missing) - there
        if_absent = np.log(self.missing) - np.log1p(-self.spurious) + there
        return np.where(given < 0, np.nan, expit(np.where(given == 1, if_present, if_absent)))


def fit_noise(logits: np.ndarray, given: np.ndarray) -> NoiseModel:
    """Fit the two rates, the slope and the shifts by their largest posterior probability.

    The prior draws labels' shifts to their mean, and the rates to a few percent; a few hundred labels outweigh it.

    Args:
        logits: (N, C) float, finite.
        given: (N, C): 1 present, 0 absent, -1 unknown, which takes no part.

    Returns:
        The model. A label that is nowhere known has the mean shift.
    """
    count = logits.shape[1]
    row, label = np.nonzero(given >= 0)
    value, present = logits[row, label].astype(np.float64), given[row, label] == 1

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log-posterior, and its gradient by (log slope, mean shift, both rates' log-odds, C differences)."""
        slope, differences, odds = np.exp(parameters[0]), parameters[4:], parameters[2:4]
        missing, spurious = rates = expit(odds) / 2  # below one half, or given and true would change places
        there = expit(slope * value + parameters[1] + differences[label])
        likely = spurious + (1 - missing - spurious) * there
        likely = np.where(present, likely, 1 - likely).clip(1e-300)
        towards = np.where(present, 1.0, -1.0) / likely
        by_z = towards * (1 - missing - spurious) * there * (1 - there)
        by_rates = np.array([-(towards * there).sum(), (towards * (1 - there)).sum()])
        by_shift = np.bincount(label, by_z, count)
        gradient = np.concatenate([
            [slope * (by_z * value).sum(), by_z.sum()],
            by_rates * rates * (1 - 2 * rates) - (odds - _RATE) / _RATE_SPREAD**2,
            by_shift - differences / _SHIFT_SPREAD**2,
        ])  # fmt: skip
        prior = (differences**2).sum() / _SHIFT_SPREAD**2 + ((odds - _RATE) ** 2).sum() / _RATE_SPREAD**2
        return prior / 2 - np.log(likely).sum(), -gradient

    start = np.concatenate([[0.0, 0.0, _RATE, _RATE], np.zeros(count)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    missing, spurious = expit(found[2:4]) / 2
    return NoiseModel(float(np.exp(found[0])), found[1] + found[4:], float(missing), float(spurious))
