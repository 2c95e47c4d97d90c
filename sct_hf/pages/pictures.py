"""Images inside a page."""

import base64
import io
from pathlib import Path

from PIL import Image

from sct_hf.model.image_processing_sct import open_image, to_rgb

SIDE = 480
"""Pixels of the longer side, unless another is given."""


def data_uri(image: Image.Image | str | Path, side: int = SIDE, quality: int = 80) -> str:
    """An image as a JPEG in a `data:` address: about 30 kB for a photograph of 480 pixels.

    Args:
        image: An image of any mode, which stays unchanged, or its file, which is turned as its EXIF data says.
        side: Most pixels of a side. Smaller images keep their size.
        quality: JPEG quality, 1 to 95.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is no image.
    """
    shown = to_rgb(image) if isinstance(image, Image.Image) else open_image(Path(image))
    if max(shown.size) > side:
        shown = shown.copy()
        shown.thumbnail((side, side))
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
