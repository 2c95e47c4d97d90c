from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sct_hf.data.fingerprint import fingerprint


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_with_other_metadata_is_the_same(tmp_path: Path, image: Image.Image, progressive: bool) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    plain = encoded(image, "jpeg", quality=90, progressive=progressive)
    told = encoded(image, "jpeg", quality=90, progressive=progressive, exif=exif, comment="said", dpi=(300, 300))
    assert plain != told
    (tmp_path / "a").write_bytes(plain)
    (tmp_path / "b").write_bytes(told)
    (tmp_path / "c").write_bytes(told + b"trailing")
    assert len({fingerprint((tmp_path / name).read_bytes()) for name in "abc"}) == 1


def test_a_png_with_other_metadata_is_the_same(tmp_path: Path, image: Image.Image) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "said")
    (tmp_path / "a").write_bytes(encoded(image, "png"))
    (tmp_path / "b").write_bytes(encoded(image, "png", pnginfo=text, dpi=(300, 300)))
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()
    assert fingerprint((tmp_path / "a").read_bytes()) == fingerprint((tmp_path / "b").read_bytes())


@pytest.mark.parametrize("format", ["jpeg", "png", "bmp", "webp"])
def test_one_pixel_more_is_another_image(tmp_path: Path, image: Image.Image, format: str) -> None:
    (tmp_path / "a").write_bytes(encoded(image, format))
    other = image.copy()
    other.paste((0, 0, 0), (0, 0, 8, 8))
    (tmp_path / "b").write_bytes(encoded(other, format))
    (tmp_path / "c").write_bytes(encoded(image, format))
    assert fingerprint((tmp_path / "a").read_bytes()) != fingerprint((tmp_path / "b").read_bytes())
    assert fingerprint((tmp_path / "a").read_bytes()) == fingerprint((tmp_path / "c").read_bytes())


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00", b"\x89PNG\r\n\x1a\n", b"text"])
def test_files_that_are_no_images_differ_by_their_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(data + b"?")
    assert fingerprint((tmp_path / "a").read_bytes()) != fingerprint((tmp_path / "b").read_bytes())


def test_every_image_of_voc_is_another(voc_dir: Path) -> None:
    files = sorted((voc_dir / "VOC2007" / "JPEGImages").glob("*.jpg"))[:300]
    parts = {fingerprint(file.read_bytes()) for file in files}
    assert len(parts) == len({file.read_bytes() for file in files})
