from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sct_hf.data.decoding import decode_image
from sct_hf.data.transforms import eval_transform


def smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    """An image with as little fine detail as photographs have."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> dict[str, Any]:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def resized(image: Image.Image, side: int) -> torch.Tensor:
    return 255 * eval_transform(side, [0.0] * 3, [1.0] * 3)(image)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(16, 700), width=st.integers(16, 700), side=st.integers(8, 120))
def test_a_jpeg_is_reduced_as_far_as_twice_the_side_is_left(height: int, width: int, side: int) -> None:
    data = encoded(Image.new("RGB", (width, height), (200, 30, 90)))
    found = decode_image(data, side)
    wanted = max(step for step in (1, 2, 4, 8) if step == 1 or min(height // (2 * side), width // (2 * side)) >= step)
    assert found.size == (-(-width // wanted), -(-height // wanted))
    assert decode_image(data).size == (width, height)


@pytest.mark.parametrize("side", [30, 56, 100])
def test_a_reduced_decode_is_near_the_full_one_and_always_the_same(side: int) -> None:
    data = encoded(smooth(480, 640), quality=90)
    full, reduced = decode_image(data), decode_image(data, side)
    assert reduced.size < full.size
    difference = (resized(full, side) - resized(reduced, side)).abs()
    assert difference.mean() < 1
    assert difference.max() < 16
    assert np.array_equal(np.asarray(reduced), np.asarray(decode_image(data, side)))


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF")])
def test_other_images_come_as_they_are(mode: str, kind: str) -> None:
    data = encoded(smooth(90, 120).convert(mode), kind)
    full, found = decode_image(data), decode_image(data, 30)
    assert full.mode == found.mode == mode
    assert np.array_equal(np.asarray(full), np.asarray(found))


def test_a_reduced_image_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    upright = smooth(640, 480)
    data = encoded(upright.transpose(Image.Transpose.ROTATE_90), exif=exif, quality=95)
    found = resized(decode_image(data, 40), 40)
    assert (found - resized(upright, 40)).abs().mean() < 2


def test_files_and_bytes_are_the_same(tmp_path: Path) -> None:
    data = encoded(smooth(300, 400))
    path = tmp_path / "one.jpg"
    path.write_bytes(data["bytes"])
    found = [decode_image(row, 40) for row in (data, {"bytes": None, "path": str(path)})]
    assert found[0].size == (200, 150)
    assert np.array_equal(*map(np.asarray, found))
    with pytest.raises(FileNotFoundError):
        decode_image({"bytes": None, "path": str(tmp_path / "none.jpg")}, 40)
