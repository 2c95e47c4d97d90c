"""From the maps of labels to a mask of the image, with the number of a label at each pixel."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

NO_LABEL = -1
"""The number at pixels of the background, where no map reaches the threshold."""

BACKGROUND = "background"
"""Its name."""


def index_masks(
    maps: Sequence[np.ndarray], numbers: Sequence[int], size: tuple[int, int], thresholds: Sequence[float] | np.ndarray
) -> Iterator[np.ndarray]:
    """The label at each pixel of an image, for one threshold after the other.

    The maps are scaled to [0, 1] and enlarged bilinearly, and compete. A pixel gets the label of the largest one, or
    the first of equal ones, if that reaches the threshold. A constant map is 1 everywhere.

    Args:
        maps: K maps (H', W') over the whole image; K may be 0.
        numbers: The number of each one's label, from 0.
        size: (width, height) of the image in pixels.
        thresholds: In [0, 1].

    Yields:
        (height, width) int32: the number of a label, or `NO_LABEL`.

    Raises:
        ValueError: A map has NaN or infinity.
    """
    best = np.full(size[::-1], -1, dtype=np.float32)  # below any threshold
    label = np.full(size[::-1], NO_LABEL, dtype=np.int32)
    for weights, number in zip(maps, numbers, strict=True):
        fine = enlarged(weights, size)
        larger = fine > best
        best[larger], label[larger] = fine[larger], number
    for threshold in thresholds:
        yield np.where(best >= threshold, label, NO_LABEL)


def enlarged(weights: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a map (H', W') to [0, 1] and resize it bilinearly to `size`, (width, height): (height, width) float32.

    Raises:
        ValueError: The map has NaN or infinity.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(weights).all():
        raise ValueError("weights have NaN or infinity: the model is broken, or its number format overflows")
    low, high = weights.min(), weights.max()
    scaled = (weights - low) / (high - low) if high > low else np.ones_like(weights)
    return np.asarray(Image.fromarray(scaled.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
