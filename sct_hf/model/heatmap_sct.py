"""Maps of weights, such as transport plans, laid over their image and boxed."""

from typing import Any

import numpy as np
from PIL import Image

from .image_processing_sct import to_rgb

HEATMAP_SIDE = 1024
"""Pixels that the heatmaps of a pipeline have at most a side."""

# Every 17th of the 256 colours of "inferno" (Nathaniel Smith and Stéfan van der Walt, CC0), from dark to bright.
_INFERNO = (
    "000004 0c0826 240c4f 420a68 5d126e 781c6d 932667 ae305c c73e4c dd513a ed6925 f8850f fca50a fac62d f2e661 fcffa4"
)
_OPACITY = 0.75
_LEVELS = 2048
_STRIP = 64  # rows that are coloured together
_FINEST = 128


def heatmap_overlay(image: Image.Image, weights: Any) -> Image.Image:
    """Lay a map of weights over an image: bright where they are largest, the image in grey where smallest.

    The map is stretched to its own range (a constant one leaves the image grey) and enlarged bilinearly; colour and
    opacity follow it.

    Args:
        image: The image, any mode; turned upright by its EXIF orientation.
        weights: (H', W') finite real numbers over the whole image, such as a label's transport plan.

    Returns:
        An RGB image of the size of `image` (upright).
    """
    mixed = to_rgb(image).convert("L").convert("RGB")
    levels, table = _stretched(weights, _LEVELS - 1), _colour_table()
    width, height = mixed.size
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        part = (0, top * levels.height / height, levels.width, bottom * levels.height / height)
        fine = levels.resize((width, bottom - top), Image.Resampling.BILINEAR, box=part)
        colours = table.take((np.asarray(fine) + np.float32(0.5)).astype(np.intp))  # (h, W), 4 bytes each
        strip = Image.fromarray(colours.view(np.uint8).reshape(*colours.shape, 4), "RGBA")
        mixed.paste(strip, (0, top), mask=strip)
    return mixed


def heatmap_box(weights: Any, size: tuple[int, int]) -> dict[str, int]:
    """Box a map of weights: the part around its peak where it lies above the middle of its range.

    The map is stretched to its own range and enlarged as for the overlay. The box holds the region that is connected
    to the largest weight by steps up, down, left and right over weights of at least half of that range. A constant
    map gives the whole image. Nothing was trained on boxes: it tells where to look, not where an object ends.

    Args:
        weights: (H', W') finite real numbers over the whole image.
        size: (width, height) of the image in pixels.

    Returns:
        "xmin", "ymin", "xmax", "ymax" in pixels of the image, the upper bounds exclusive.
    """
    width, height = size
    scale = max(1.0, max(size) / _FINEST)
    small = (max(1, round(width / scale)), max(1, round(height / scale)))
    fine = np.asarray(_stretched(weights, 1).resize(small, Image.Resampling.BILINEAR))  # (h, w)
    if not fine.any():
        return {"xmin": 0, "ymin": 0, "xmax": width, "ymax": height}
    high = np.pad(fine >= fine.max() / 2, 1)
    part = np.zeros_like(high)
    part[1:-1, 1:-1].flat[fine.argmax()] = True
    before = 0
    while before < part.sum():  # until it grows no more
        before = part.sum()
        part[1:-1, 1:-1] |= part[:-2, 1:-1] | part[2:, 1:-1] | part[1:-1, :-2] | part[1:-1, 2:]
        part &= high
    rows, columns = (np.flatnonzero(part[1:-1, 1:-1].any(axis)) for axis in (1, 0))
    across, down = width / fine.shape[1], height / fine.shape[0]
    bounds = (columns[0] * across, rows[0] * down, (columns[-1] + 1) * across, (rows[-1] + 1) * down)
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), map(round, bounds), strict=True))


def _stretched(weights: Any, top: int) -> Image.Image:
    """Weights (H', W') stretched to [0, top], as an image of 32-bit floats."""
    low, high = float(np.min(weights)), float(np.max(weights))
    return Image.fromarray((np.asarray(weights, dtype=np.float32) - low) * (top / ((high - low) or 1.0)))


def _colour_table() -> np.ndarray:
    """Colour and opacity of each level, as bytes of one number: (_LEVELS,) uint32."""
    colours = np.array([list(bytes.fromhex(colour)) for colour in _INFERNO.split()])  # (16, 3)
    levels, places = np.linspace(0, 1, _LEVELS), np.linspace(0, 1, len(colours))
    channels = [np.interp(levels, places, channel) for channel in colours.T]
    return np.stack([*channels, 255 * _OPACITY * levels], axis=-1).round().astype(np.uint8).view(np.uint32)[:, 0]


__all__ = ["HEATMAP_SIDE", "heatmap_box", "heatmap_overlay"]
