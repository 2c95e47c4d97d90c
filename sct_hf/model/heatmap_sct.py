"""From a transport plan to an image: where a tag was seen, as a heatmap and as a box."""

from typing import Any

import numpy as np
from PIL import Image

from .image_processing_sct import to_rgb

# Every 17th of the 256 colours of "inferno" (Nathaniel Smith and Stéfan van der Walt, CC0), from dark to bright.
_INFERNO = (
    "000004 0c0826 240c4f 420a68 5d126e 781c6d 932667 ae305c c73e4c dd513a ed6925 f8850f fca50a fac62d f2e661 fcffa4"
)
_COLOURS = np.array([list(bytes.fromhex(colour)) for colour in _INFERNO.split()])  # (16, 3)
_OPACITY = 0.75
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
    image = to_rgb(image)
    fine = _enlarged(weights, image.size)  # (H, W)
    places = np.linspace(0, 1, len(_COLOURS))
    colour = np.stack([np.interp(fine, places, channel) for channel in _COLOURS.T], axis=-1)  # (H, W, 3)
    grey = np.asarray(image.convert("L"), dtype=np.float32)[..., None]  # (H, W, 1)
    opacity = _OPACITY * fine[..., None]
    mixed = (1 - opacity) * grey + opacity * colour
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


def heatmap_box(weights: Any, size: tuple[int, int]) -> dict[str, int]:
    """Box a map of weights: the part around its peak where it lies above the middle of its range (ours).

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
    fine = _enlarged(weights, (max(1, round(width / scale)), max(1, round(height / scale))))  # (h, w)
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
    return {
        "xmin": round(columns[0] * across),
        "ymin": round(rows[0] * down),
        "xmax": round((columns[-1] + 1) * across),
        "ymax": round((rows[-1] + 1) * down),
    }


def _enlarged(weights: Any, size: tuple[int, int]) -> np.ndarray:
    """Weights (H', W') stretched to [0, 1] and enlarged to `size` (W, H): (H, W) float32."""
    low, high = float(np.min(weights)), float(np.max(weights))
    stretched = (np.asarray(weights, dtype=np.float32) - low) / ((high - low) or 1.0)
    return np.asarray(Image.fromarray(stretched).resize(size, Image.Resampling.BILINEAR))


__all__ = ["heatmap_box", "heatmap_overlay"]
