"""Decoding of images to pixels."""

from io import BytesIO
from typing import Any

from datasets import Image as ImageColumn
from PIL import Image

try:
    from pillow_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

_MARGIN = 2  # with less, what a JPEG decoder averages away is seen in the resized image
_COLUMN = ImageColumn()


def decode_image(encoded: dict[str, Any], draft_side: int | None = None) -> Image.Image:
    """Decode one image of an `Image(decode=False)` column.

    A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, which is up to ten times faster. Photographs resized to
    `draft_side` then differ from a full decode by 0.7 of 255 levels on average, 1.5 in the root mean square (100
    images of VOC2007). This project chose the margin, the same as in Pillow's `thumbnail`.

    Args:
        encoded: `bytes` and `path`, one of them not None.
        draft_side: Decode a JPEG at the smallest of these sizes with both sides at least twice this many pixels. None
            decodes in full, as do images that are not much larger.

    Returns:
        The loaded image, in any mode and as stored; `to_rgb` turns it upright.

    Raises:
        Exception: The file is broken; Pillow's decoders may raise almost any error.
    """
    data, path = encoded["bytes"], encoded["path"]
    if data is None and path and "://" in path:
        return _COLUMN.decode_example(encoded)
    if data is None and not path:
        raise FileNotFoundError("the image has neither a file nor bytes")
    image = Image.open(path if data is None else BytesIO(data))
    if draft_side is not None:
        image.draft(None, (_MARGIN * draft_side, _MARGIN * draft_side))
    image.load()
    return image
