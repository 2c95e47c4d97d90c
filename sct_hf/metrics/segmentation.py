"""How well maps of labels mark the pixels of their objects, where masks are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sct_hf.inference.masks import BACKGROUND, NO_LABEL, index_masks
from sct_hf.metrics.localisation import THRESHOLDS


def count_pixels(maps: Sequence[np.ndarray], columns: Sequence[int], truth: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of one image by true and predicted class, at each of `THRESHOLDS`.

    The maps of the labels that the image shows, or of its tags, compete for its pixels as in `index_masks`.

    Args:
        maps: K maps (H', W') over the whole image; K may be 0.
        columns: The numbers of their labels, from 0.
        truth: (height, width) int, the number of the label at each pixel; −1 for background.
        classes: Number C of labels.

    Returns:
        (T, C + 1, C + 1) int64: by threshold, true and predicted class; the last class is the background.

    Raises:
        ValueError: A map has NaN or infinity.
    """
    side, true = classes + 1, np.where(truth < 0, classes, truth)
    masks = index_masks(maps, columns, (truth.shape[1], truth.shape[0]), THRESHOLDS)
    found = [
        np.bincount((side * true + np.where(mask == NO_LABEL, classes, mask)).ravel(), minlength=side * side)
        for mask in masks
    ]
    return np.stack(found).reshape(-1, side, side)


def segmentation_metrics(counts: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
    """The mean intersection over union of C labels and the background (Everingham et al., IJCV 2015).

    Args:
        counts: (T, C + 1, C + 1), the sum of `count_pixels` over the images.
        label_names: The C labels.

    Returns:
        `{"mIoU", "threshold", "IoU"}` at the threshold with the best mIoU; `IoU` has each label and "background",
        None for a class without a true or predicted pixel, which does not count in the mean.
    """
    hit = np.diagonal(counts, axis1=1, axis2=2).astype(float)  # (T, C + 1)
    either = counts.sum(axis=1) + counts.sum(axis=2) - hit
    share = np.divide(hit, either, out=np.full_like(hit, np.nan), where=either > 0)
    means = np.nanmean(share, axis=1)
    best = int(means.argmax())
    named = zip([*label_names, BACKGROUND], share[best].tolist(), strict=True)
    return {
        "mIoU": float(means[best]),
        "threshold": float(THRESHOLDS[best]),
        "IoU": {name: None if np.isnan(value) else value for name, value in named},
    }
