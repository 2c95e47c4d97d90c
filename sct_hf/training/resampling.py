"""Sampling of training images: images of rare labels appear more often in an epoch."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


def repeat_factors(targets: np.ndarray, threshold: float) -> np.ndarray:
    """Repeat factor of each image (LVIS: Gupta, Dollár and Girshick, CVPR 2019).

    A label in a share f of the images has the factor max(1, sqrt(t / f)). An image has the largest factor of its
    labels, or 1 without any.

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
    """How often each image is drawn if a label is drawn first, then one of its images.

    Class-aware sampling (Shen, Lin and Huang, ECCV 2016), where each label of an image counts. Labels without images
    and images without labels are left out.

    Args:
        targets: (N, C): 1 present; anything else counts as not present.

    Returns:
        (N,) float64 with sum N; all 1 if there is no label at all.
    """
    present = targets == 1
    counts = present.sum(axis=0)  # (C,)
    weights = (present / np.maximum(counts, 1)).sum(axis=1)  # (N,)
    return weights * (len(targets) / weights.sum()) if weights.any() else np.ones(len(targets))


class WeightedSampler(Sampler[tuple[int, int]]):
    """A new order of the images every epoch, in which each appears in proportion to its weight.

    The length of an epoch is the number of images, so steps and schedule are the same as for plain shuffling (LVIS
    lengthens it). An image with an expected count of 2.3 appears 2 or 3 times. Systematic sampling over a random order
    keeps the expectation exact (public code rounds each image separately). The order depends only on seed and epoch:
    all processes have the same, and a resumed run continues it.

    Args:
        weights: (N,), at least 0, not all 0.
        seed: Seed of the order.

    Yields:
        (image, its previous appearances in this epoch): data sets show a repeated image in another view.
    """

    def __init__(self, weights: np.ndarray, seed: int) -> None:
        self._due = weights * (len(weights) / weights.sum())  # (N,)
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._due)

    def set_epoch(self, epoch: int) -> None:
        """Use the order of `epoch` from now on."""
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
