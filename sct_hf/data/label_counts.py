"""How often each label is present, absent and unknown."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelCounts:
    """Counts of C labels over the images of a split.

    Attributes:
        positives: (C,) int64, images that show each label.
        negatives: (C,) int64, images that are known not to show it.
        unknown: (C,) int64, images for which it is unknown.
    """

    positives: np.ndarray
    negatives: np.ndarray
    unknown: np.ndarray

    @classmethod
    def of(cls, targets: np.ndarray) -> "LabelCounts":
        """Count in targets (N, C): 1 present, 0 absent, -1 or NaN unknown; soft values are none of the three."""
        known = targets >= 0
        return cls((targets == 1).sum(axis=0), (targets == 0).sum(axis=0), (~known).sum(axis=0))

    def assuming_negative(self) -> "LabelCounts":
        """The counts if unknown labels were absent."""
        return LabelCounts(self.positives, self.negatives + self.unknown, np.zeros_like(self.unknown))

    def log_odds(self) -> np.ndarray:
        """Log-odds (C,) float64: log of positives over negatives; a count of 0 is taken as 1."""
        return np.log(np.maximum(self.positives, 1) / np.maximum(self.negatives, 1))
