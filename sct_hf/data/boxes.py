"""Boxes of objects, from the data sets that have them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sct_hf.data.names import shown
from sct_hf.data.problems import Problems

_MOST_PIXELS = 2 * 89_478_485  # what Pillow decodes


@dataclass
class BoxedImage:
    """The boxes of one image.

    Attributes:
        size: (width, height) in pixels of the image that was annotated, which may be larger than its file.
        boxes: For each label, boxes (xmin, ymin, xmax, ymax) in these pixels, from the left and top edge, not beyond
            the image.
        clear: Labels with an object that is neither difficult (VOC) nor in a crowd (COCO).
        masks: For each label, its visible pixels, bool (height, width); empty where only boxes are known.
    """

    size: tuple[int, int]
    boxes: dict[str, list[tuple[float, float, float, float]]] = field(default_factory=dict)
    clear: set[str] = field(default_factory=set)
    masks: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, label: str, box: Sequence[float], *, hard: bool) -> bool:
        """Add a box, cut at the image's border; return whether some of it is inside."""
        width, height = self.size
        left, right = (min(max(float(place), 0.0), float(width)) for place in box[::2])
        top, bottom = (min(max(float(place), 0.0), float(height)) for place in box[1::2])
        inside = left < right and top < bottom
        if inside:
            self.boxes.setdefault(label, []).append((left, top, right, bottom))
            if not hard:
                self.clear.add(label)
        return inside

    def of(self, label: str) -> np.ndarray | None:
        """The boxes (n, 4) float64 of a label, difficult ones and crowds included; None if it has no others."""
        return np.array(self.boxes[label], dtype=np.float64) if label in self.clear else None


def checked_numbers(
    values: Any, count: int, what: str, place: object, remedy: str, problems: Problems
) -> list[float] | None:
    """So many finite numbers of a file, which may be text; None and a problem if they are something else."""
    try:
        numbers = [float("" if isinstance(value, bool) else value) for value in values]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) == count and all(map(math.isfinite, numbers)):
        return numbers
    problems.add("wrong box", place, f"{what} is {shown(values)}, not {count} numbers", remedy)
    return None


def image_size(width: Any, height: Any, place: object, remedy: str, problems: Problems) -> tuple[int, int] | None:
    """The size of an annotated image; None and a problem if it is not two whole numbers, or too large to decode."""
    numbers = checked_numbers([width, height], 2, "the size of the image", place, remedy, problems)
    if numbers is None:
        return None
    whole = all(number == int(number) and number >= 1 for number in numbers)
    if not whole or numbers[0] * numbers[1] > _MOST_PIXELS:
        problems.add("wrong size", place, f"the size of the image is {numbers[0]:g}×{numbers[1]:g} pixels", remedy)
        return None
    return int(numbers[0]), int(numbers[1])
