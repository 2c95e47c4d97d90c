"""Which training images an epoch shows, and how often: images of rare labels more often than others."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


def repeat_factors(targets: np.ndarray, threshold: float) -> np.ndarray:
    """Repeat factor of each image (LVIS: Gupta, Dollár and Girshick, CVPR 2019).

    A label that a share f of the images has gets max(1, sqrt(t / f)); an image the largest factor of its labels,
    or 1 without any.

    Args:
        targets: (N, C): 1 present; anything else counts as not present.
        threshold: t, the share below which a label's images are repeated (LVIS: 0.001 of 57,000 images).

    Returns:
        (N,) float64, at least 1.
    """
    present = targets == 1
    share = present.mean(axis=0)  # (C,)
    of_label = np.sqrt(np.maximum(threshold / np.maximum(share, 1 / len(targets)), 1))  # (C,)
    return np.where(present, of_label, 1.0).max(axis=1)


def class_aware_weights(targets: np.ndarray) -> np.ndarray:
    """How often each image is drawn where a label is drawn first, then one of its images.

    Class-aware sampling (Shen, Lin and Huang, ECCV 2016), with each label of an image counted. Labels without
    images are left out, and so are images without labels.

    Args:
        targets: (N, C): 1 present; anything else counts as not present.

    Returns:
        (N,) float64, of sum N; all 1 where there is no label at all.
    """
    present = targets == 1
    counts = present.sum(axis=0)  # (C,)
    weights = (present / np.maximum(counts, 1)).sum(axis=1)  # (N,)
    return weights * (len(targets) / weights.sum()) if weights.any() else np.ones(len(targets))


class WeightedSampler(Sampler[tuple[int, int]]):
    """Another order of the images every epoch, in which each appears in proportion to its weight.

    An epoch holds as many images as there are, so that steps and schedule stay those of plain shuffling (LVIS
    lengthens it). An image that is due 2.3 times appears 2 or 3 times: rounding is by systematic sampling over a
    random order, so that the expected number is exactly what is due (public code rounds each image by
    itself). The order is a function of seed and epoch alone: every process has the same, and a resumed run goes on
    in it.

    Args:
        weights: (N,) above or equal to 0, not all 0.
        seed: Of the order.

    Yields:
        (image, how many times it has appeared in this epoch already): data sets show a repeated image in another
        view.
    """

    def __init__(self, weights: np.ndarray, seed: int) -> None:
        self._due = weights * (len(weights) / weights.sum())  # (N,)
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._due)

    def set_epoch(self, epoch: int) -> None:
        """Give the order of `epoch` from now on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        random = np.random.default_rng((self._seed, self.epoch))
        order = random.permutation(len(self))
        ends = np.floor(np.cumsum(self._due[order]) + random.random()).clip(max=len(self))
        ends[-1] = len(self)  # as it is but for rounding errors
        times: np.ndarray = np.diff(ends, prepend=0).astype(np.int64)  # (N,), of sum N
        repeats = np.concatenate([np.arange(count) for count in times])
        pairs = np.stack((np.repeat(order, times), repeats), axis=1)
        yield from map(tuple, random.permutation(pairs).tolist())
