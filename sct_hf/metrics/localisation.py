"""How well the map of a label points at its objects.

A map is (H', W'), finite, and covers the whole image. Boxes are (n, 4), n ≥ 1: xmin, ymin, xmax, ymax in pixels of the
annotated image, from its left and top edge. All figures are fractions in [0, 1], for one image and one label that it
shows. A map counts by its own range, which is scaled to [0, 1]; a constant map is 1 everywhere.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torchvision.ops import box_iou

from sct_hf.inference.masks import enlarged
from sct_hf.model.image_processing_sct import heatmap_box

TOLERANCE = 15
"""Pixels of the annotated image by which a peak may miss an object (Zhang et al., ECCV 2016)."""

OVERLAPS = (0.3, 0.5, 0.7)
"""Overlaps over which MaxBoxAccV2 averages (Choe et al., CVPR 2020)."""

THRESHOLDS = np.arange(1, 20) / 20
"""Thresholds of MaxBoxAccV2, of which the best counts: 0.05, 0.1, …, 0.95. The grid is this project's."""

SIZES = {"small": 32**2, "medium": 96**2, "large": np.inf}
"""Upper bounds of an object's area in square pixels, as in COCO's evaluation; here it is the area of its box."""

FIGURES = ("pointing", "energy", "MaxBoxAccV2", "CorLoc")
"""Names of the figures."""

_BOX_SIDE = 224  # longer side of the map that boxes are taken from; Choe et al. take them at 224 px
_CORLOC = 0.5


class PairFigures(NamedTuple):
    """Figures of one map.

    Attributes:
        pointing: See `pointing_hit`.
        energy: See `energy_share`.
        overlaps: (T,) see `best_overlaps`, at `THRESHOLDS`.
        located: Whether CorLoc counts it: `heatmap_box` overlaps a box by at least 0.5 (Deselaers et al., IJCV 2012).
    """

    pointing: float
    energy: float
    overlaps: np.ndarray
    located: bool


def pair_figures(weights: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> PairFigures:
    """Compare a map (H', W') with the boxes (n, 4) of its label in an image of `size`, (width, height) in pixels.

    Raises:
        ValueError: The map has NaN or infinity.
    """
    fine = enlarged(weights, size)
    one = heatmap_box(weights, size)
    located = overlaps(np.array([[*one.values()]], dtype=float), boxes).max() >= _CORLOC
    return PairFigures(
        pointing_hit(fine, boxes), energy_share(fine, boxes), best_overlaps(weights, boxes, size), bool(located)
    )


def pointing_hit(fine: np.ndarray, boxes: np.ndarray, tolerance: float = TOLERANCE) -> float:
    """The pointing game (Zhang et al., ECCV 2016): 1 if the peak is in a box, or at most `tolerance` pixels off.

    The distance is from the centre of the peak's pixel to that of the nearest pixel that a box touches. If several
    pixels share the peak, the result is the share of them that hit, which for a constant map is chance.

    Args:
        fine: (height, width), a map at the size of the image.
        boxes: (n, 4).
        tolerance: In pixels of the image.
    """
    rows, columns = np.nonzero(fine == fine.max())  # (K,)
    left, top, right, bottom = _pixels(boxes, fine).T[:, :, None]  # (n, 1)
    across = np.maximum(np.maximum(left - columns, columns - (right - 1)), 0)  # (n, K)
    down = np.maximum(np.maximum(top - rows, rows - (bottom - 1)), 0)
    return float((np.hypot(across, down) <= tolerance).any(axis=0).mean())


def energy_share(fine: np.ndarray, boxes: np.ndarray) -> float:
    """The energy-based pointing game (Wang et al., Score-CAM, CVPRW 2020): the share of the map inside the boxes.

    Args:
        fine: (height, width), a map in [0, 1] at the size of the image.
        boxes: (n, 4); a pixel that a box touches is inside.
    """
    inside = np.zeros(fine.shape, dtype=bool)
    for left, top, right, bottom in _pixels(boxes, fine):
        inside[top:bottom, left:right] = True
    return float(fine[inside].sum(dtype=np.float64) / fine.sum(dtype=np.float64))


def best_overlaps(
    weights: np.ndarray,
    boxes: np.ndarray,
    size: tuple[int, int],
    thresholds: np.ndarray = THRESHOLDS,
) -> np.ndarray:
    """The best intersection over union of any predicted and any true box, at each threshold: (T,).

    Predicted boxes enclose the parts of the map at or above the threshold, connected by steps up, down, left and
    right; all parts count, as in MaxBoxAccV2 (Choe et al., CVPR 2020). They are taken from the map at 224 pixels on
    the longer side, or at the size of a smaller image.

    Args:
        weights: (H', W').
        boxes: (n, 4).
        size: (width, height) of the image in pixels.
        thresholds: (T,) in (0, 1], of the map scaled to [0, 1].
    """
    width, height = size
    scale = max(1.0, max(size) / _BOX_SIDE)
    fine = enlarged(weights, (max(1, round(width / scale)), max(1, round(height / scale))))
    fine = fine / fine.max()  # made smaller, it may end below 1
    across, down = width / fine.shape[1], height / fine.shape[0]
    found, numbers = [], []
    for number, threshold in enumerate(thresholds):
        parts, _ = ndimage.label(fine >= threshold)
        for rows, columns in ndimage.find_objects(parts):
            found.append((columns.start * across, rows.start * down, columns.stop * across, rows.stop * down))
            numbers.append(number)
    best = np.zeros(len(thresholds))
    np.maximum.at(best, numbers, overlaps(np.array(found), boxes).max(axis=1))
    return best


def overlaps(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each of the boxes (n, 4) with each of the others (m, 4): (n, m) float64."""
    return box_iou(torch.from_numpy(some).double(), torch.from_numpy(others).double()).numpy()


def size_of(boxes: np.ndarray) -> str:
    """The name in `SIZES` of the largest of the boxes (n, 4)."""
    area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).max()
    return next(name for name, bound in SIZES.items() if area < bound)


def localisation_metrics(
    pairs: Sequence[PairFigures], labels: Sequence[str], sizes: Sequence[str], label_names: Sequence[str]
) -> dict[str, Any]:
    """Average the figures of N maps, one for each pair of an image and a label that it shows.

    Args:
        pairs: The N figures.
        labels: Name of the label of each.
        sizes: Size of the object of each, a name in `SIZES`.
        label_names: The labels to list; one without a map has None for its figures.

    Returns:
        `{"overall", "mean_of_labels", "by_label", "by_size", "thresholds"}`. `overall` is the mean over pairs,
        `mean_of_labels` that of the labels' figures. Each has "pairs" (count) and `FIGURES`. MaxBoxAccV2 is the mean
        over `OVERLAPS` of the share of pairs whose best overlap reaches it, at the threshold best for all N pairs
        together; `thresholds` has these by overlap.
    """
    best = np.stack([pair.overlaps for pair in pairs])  # (N, T)
    hits = [best >= overlap for overlap in OVERLAPS]  # (N, T) each
    chosen = [int(hit.mean(axis=0).argmax()) for hit in hits]
    boxed = np.mean([hit[:, place] for hit, place in zip(hits, chosen, strict=True)], axis=0)  # (N,)
    columns = ([pair.pointing for pair in pairs], [pair.energy for pair in pairs], boxed, [p.located for p in pairs])
    table = np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)  # (N, 4)

    def means(rows: np.ndarray) -> dict[str, Any]:
        values = rows.mean(axis=0).tolist() if len(rows) else [None] * len(FIGURES)
        return {"pairs": len(rows), **dict(zip(FIGURES, values, strict=True))}

    by_label = {name: means(table[np.asarray(labels) == name]) for name in label_names}
    shown = np.array([[row[figure] for figure in FIGURES] for row in by_label.values() if row["pairs"]])
    return {
        "overall": means(table),
        "mean_of_labels": means(shown) | {"pairs": len(pairs)},
        "by_label": by_label,
        "by_size": {name: means(table[np.asarray(sizes) == name]) for name in SIZES},
        "thresholds": {
            str(overlap): float(THRESHOLDS[place]) for overlap, place in zip(OVERLAPS, chosen, strict=True)
        },
    }


def _pixels(boxes: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """The pixels that boxes (n, 4) touch, within the map: (n, 4) int, upper bounds exclusive, none empty."""
    height, width = fine.shape
    low = np.clip(np.floor(boxes[:, :2]), 0, (width - 1, height - 1))
    high = np.clip(np.ceil(boxes[:, 2:]), low + 1, (width, height))
    return np.concatenate([low, high], axis=1).astype(int)
