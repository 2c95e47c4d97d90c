"""Differences of files from the model."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from sct_hf.export.graph import SCORES
from sct_hf.export.runners import Runner

MAX_DIFFERENCE = 1e-4
"""By how much a number that a float32 file computes may differ from the model's."""


def agreement(
    runners: dict[str, Runner],
    expected: Runner,
    images: Iterable[np.ndarray],
    outputs: tuple[str, ...],
    thresholds: list[float],
) -> dict[str, dict[str, Any]]:
    """Compare the outputs of several files with the model's, image by image.

    Args:
        runners: The opened files, by format.
        expected: The model.
        images: Inputs (1, channels, H, W) float32, iterated once.
        outputs: Names of the outputs, among them "scores" (1, C).
        thresholds: Threshold of each label.

    Returns:
        For each format: `images`, their number; `same_tags`, the share of images with exactly the model's tags;
        `max_difference` and `mean_difference` of each output, infinite if a shape differs or a value is NaN.
    """
    count = 0
    same = dict.fromkeys(runners, 0)
    largest = {name: dict.fromkeys(outputs, 0.0) for name in runners}
    total = {name: dict.fromkeys(outputs, 0.0) for name in runners}
    for image in images:
        count += 1
        wanted = dict(zip(outputs, expected(image), strict=True))
        for name, run in runners.items():
            found = dict(zip(outputs, run(image), strict=True))
            same[name] += _same_tags(found[SCORES], wanted[SCORES], thresholds)
            for output in outputs:
                gap = difference(found[output], wanted[output])
                largest[name][output] = max(largest[name][output], float(gap.max()))
                total[name][output] += float(gap.mean())
    return {
        name: {
            "images": count,
            "same_tags": same[name] / count,
            "max_difference": largest[name],
            "mean_difference": {output: value / count for output, value in total[name].items()},
        }
        for name in runners
    }


def difference(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Absolute differences; a single infinite one if the shapes differ or a value is NaN."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return np.array([np.inf])
    return np.abs(found - wanted)


def _same_tags(found: np.ndarray, wanted: np.ndarray, thresholds: list[float]) -> bool:
    if found.shape != wanted.shape:
        return False
    limits = np.array(thresholds, dtype=np.float32)
    return np.array_equal(found >= limits, wanted >= limits)
