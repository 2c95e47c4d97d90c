"""The image processor: the transform of evaluation, for images of every form, saved, loaded and shipped."""

import base64
import io
import os
import subprocess
import sys
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from transformers import AutoImageProcessor, ViTImageProcessor

from sct_hf import SCTImageProcessor, SCTImageProcessorPil, Tagger, image_processor
from sct_hf.data import eval_transform
from sct_hf.model.image_processing_sct import open_image, to_rgb
from tests.model.tiny import tiny_config

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BACKENDS = [SCTImageProcessor, SCTImageProcessorPil]
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "F", "I", "I;16", "I;16B"]


def random_image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def tensor_of(image: object, processor: object, **options: object) -> torch.Tensor:
    return processor(images=image, return_tensors="pt", **options)["pixel_values"]


@pytest.fixture
def processor() -> SCTImageProcessor:
    return image_processor(tiny_config(image_size=[24, 40]))


@pytest.fixture
def unresized() -> SCTImageProcessor:
    """Gives the levels that it sees."""
    return SCTImageProcessor(do_resize=False, do_rescale=False, do_normalize=False)


# Any mode to RGB


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int, tmp_path, unresized) -> None:
    upright = random_image(5, 7)
    stored = {  # how a camera lays out the rows of the upright scene, by the EXIF standard
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), upright)
    for form in (image, str(tmp_path / "turned.png")):
        np.testing.assert_array_equal(tensor_of(form, unresized)[0].permute(1, 2, 0).numpy(), upright)


@pytest.mark.parametrize("mode", MODES)
def test_any_mode_becomes_rgb(mode: str) -> None:
    converted = to_rgb(Image.new(mode, (6, 4), 0))
    assert (converted.mode, converted.size) == ("RGB", (6, 4))


@pytest.mark.parametrize("mode", ["<u2", ">u2", "<i4"])
def test_sixteen_bit_grey_is_scaled(mode: str) -> None:
    levels = np.arange(65536).reshape(256, 256)
    rgb = np.asarray(to_rgb(Image.fromarray(levels.astype(mode))))
    np.testing.assert_array_equal(rgb, np.round(levels / 65535 * 255)[..., None].repeat(3, axis=2))


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_a_palettes_transparency_is_dropped_without_a_warning(transparency) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.info["transparency"] = transparency
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.asarray(to_rgb(image)).tolist() == [[[10, 20, 30], [40, 50, 60]]]


# The transform of evaluation


@pytest.mark.parametrize("size", [32, [24, 40], 224])
@pytest.mark.parametrize("sides", [(1, 1), (3, 90), (61, 47), (300, 200), (24, 40)])
def test_the_tensor_is_that_of_evaluation(size, sides: tuple[int, int]) -> None:
    processor = image_processor(tiny_config(image_size=size))
    image = Image.fromarray(random_image(*sides))
    expected = eval_transform(size, MEAN, STD)(image)
    found = tensor_of(image, processor)[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    # Pillow's resizing rounds a level otherwise here and there.
    by_pillow = tensor_of(image, SCTImageProcessorPil.from_dict(processor.to_dict()))[0]
    assert by_pillow.dtype == torch.float32
    assert ((by_pillow - expected).abs().amax((1, 2)) <= 1.001 / 255 / torch.tensor(STD)).all()


@pytest.mark.parametrize("mode", MODES)
def test_the_tensor_is_that_of_evaluation_in_any_mode(mode: str, processor) -> None:
    if mode in ("I", "I;16", "I;16B"):
        dtype = {"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[mode]
        image = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (50, 90)).astype(dtype))
    else:
        rgba = Image.fromarray(random_image(50, 90, 4), "RGBA")
        image = rgba.convert("LA").convert("PA") if mode == "PA" else rgba.convert("RGB").convert(mode)
        image = rgba if mode == "RGBA" else image
    assert image.mode == mode
    expected = eval_transform([24, 40], MEAN, STD)(image)
    assert expected.std() > 0.1
    torch.testing.assert_close(tensor_of(image, processor)[0], expected, rtol=0, atol=1e-6)


def test_a_batch_of_several_sizes_equals_its_images(processor) -> None:
    images = [Image.fromarray(random_image(*sides)) for sides in ((50, 90), (90, 50), (50, 90), (24, 40))]
    transform = eval_transform([24, 40], MEAN, STD)
    expected = torch.stack([transform(image) for image in images])
    torch.testing.assert_close(tensor_of(images, processor), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_image_gives_one_tensor_in_whatever_form(backend, processor) -> None:
    processor = backend.from_dict(processor.to_dict())
    pixels = random_image(50, 90)
    expected = tensor_of(Image.fromarray(pixels), processor)
    chw = torch.from_numpy(pixels).permute(2, 0, 1)
    alpha = np.full((50, 90, 1), 40, dtype=np.uint8)
    forms = {
        "read-only": np.asarray(Image.fromarray(pixels)),
        "mirrored twice": np.ascontiguousarray(pixels[..., ::-1])[..., ::-1],
        "channels first": np.ascontiguousarray(pixels.transpose(2, 0, 1)),
        "float32": (pixels / 255).astype(np.float32),
        "float64": pixels / 255,
        "float16": (pixels / 255).astype(np.float16),
        "int64": pixels.astype(np.int64),
        "16 bits": pixels.astype(np.uint16) * 257,
        "alpha": np.concatenate((pixels, alpha), axis=2),
        "float alpha": np.concatenate((pixels, alpha), axis=2) / 255,
        "tensor": chw,
        "float tensor": chw / 255,
        "float tensor between two levels": (chw / 255 + 0.3 / 255).clamp(max=1),
        "batch": np.stack([pixels]),
        "list of a tensor": [chw],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, form in forms.items():
            assert torch.equal(tensor_of(form, processor), expected), name
    ambiguous = pixels[:3]
    found = tensor_of(ambiguous, processor, input_data_format="channels_last")
    assert torch.equal(found, tensor_of(Image.fromarray(ambiguous), processor))


@pytest.mark.parametrize("backend", BACKENDS)
def test_grey_arrays(backend, processor) -> None:
    processor = backend.from_dict(processor.to_dict())
    grey = random_image(50, 90, 1)
    expected = tensor_of(Image.fromarray(grey[..., 0]), processor)
    for form in (grey, grey[..., 0], torch.from_numpy(grey[..., 0]), [grey[..., 0]], grey[..., 0] / 255):
        assert torch.equal(tensor_of(form, processor), expected)
    mask = grey > 127
    assert torch.equal(tensor_of(mask, processor), tensor_of(Image.fromarray(mask[..., 0]), processor))


def test_floats_that_are_not_to_be_rescaled_stay_in_the_unit_range(processor) -> None:
    pixels = random_image(24, 40)
    expected = eval_transform([24, 40], MEAN, STD)(Image.fromarray(pixels))
    torch.testing.assert_close(tensor_of(pixels / 255, processor, do_rescale=False)[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "pixels",
    [np.full((9, 9, 3), 1.5), np.full((9, 9, 3), -0.1), np.full((9, 9, 3), np.nan), np.full((9, 9, 3), 256)],
)
def test_pixels_outside_their_range_are_refused(pixels, processor) -> None:
    with pytest.raises(ValueError, match=r"images hold torch\.\w+ pixels outside \[0, (1|255)\]"):
        processor(pixels)
    with pytest.raises(ValueError, match="channel dimension"):
        processor(np.zeros((9, 9, 7), dtype=np.uint8))


# Files and URLs


@pytest.fixture
def deep_grey(tmp_path) -> Path:
    """A 16-bit file, of which transformers' own reading keeps nothing."""
    levels = np.random.default_rng(0).integers(256, 65536, (30, 50), dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    return tmp_path / "deep.png"


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_and_urls_are_read_as_by_pillow(backend, deep_grey, processor) -> None:
    processor = backend.from_dict(processor.to_dict())
    with Image.open(deep_grey) as image:
        expected = tensor_of(image, processor)
    assert expected.std() > 0.1
    text = base64.b64encode(deep_grey.read_bytes()).decode()
    handler = partial(SimpleHTTPRequestHandler, directory=deep_grey.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for source in (str(deep_grey), f"{address}/deep.png", f"data:image/png;base64,{text}"):
            assert torch.equal(tensor_of(source, processor), expected)
            assert torch.equal(tensor_of([source, source], processor), expected.repeat(2, 1, 1, 1))
        with pytest.raises(OSError, match="404"):
            processor(f"{address}/absent.png")
        server.shutdown()


def test_base64_text_and_what_is_no_image(processor) -> None:
    image, file = Image.fromarray(random_image(9, 9)), io.BytesIO()
    image.save(file, "PNG")
    text = base64.encodebytes(file.getvalue()).decode()
    assert torch.equal(tensor_of(text, processor), tensor_of(image, processor))
    with pytest.raises(ValueError, match=r"absent\.jpg"):
        processor("absent.jpg")
    with pytest.raises(TypeError):
        processor(3.5)


def test_metadata_is_read_once_and_left_out(tmp_path) -> None:
    """EXIF that cannot be read stops nothing; an orientation beside what cannot be read still turns."""
    pixels = random_image(20, 30)
    broken = b"Exif\x00\x00\x00M\x00\xff\x00\x00\x00\x08\x00\x01\x01\xff\x00\x00\x00\x00\xff\x01\x00\x06\x00\x00"
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, exif, turns in (("broken.png", broken, 0), ("turned.png", turned, -1), ("plain.png", None, 0)):
        Image.fromarray(pixels).save(tmp_path / name, **({} if exif is None else {"exif": exif}))
        with Image.open(tmp_path / name) as file:
            image = to_rgb(file)
        assert not image.info
        for _ in range(2):  # once more, nothing is left to turn or to fail
            np.testing.assert_array_equal(np.asarray(image), np.rot90(pixels, k=turns))
            image = to_rgb(image)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(tmp_path, suffix, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(random_image(20, 30)).save(tmp_path / f"image.{suffix}", exif=exif)
    with Image.open(tmp_path / f"image.{suffix}") as file:
        expected = ImageOps.exif_transpose(file)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / f"image.{suffix}")), np.asarray(expected))


def test_16_bits_in_base64_are_scaled() -> None:
    grey, file = random_image(9, 9)[..., 0], io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257).save(file, "PNG")
    image = open_image(base64.b64encode(file.getvalue()).decode())
    np.testing.assert_array_equal(np.asarray(image), np.stack([grey] * 3, -1))


# Saved, loaded and shipped


def test_it_is_found_by_the_auto_class(tmp_path, processor) -> None:
    processor.save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    by_pillow = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    assert (type(loaded), type(by_pillow)) == (SCTImageProcessor, SCTImageProcessorPil)
    assert loaded.to_dict() == by_pillow.to_dict() == processor.to_dict()
    by_pillow.save_pretrained(tmp_path)
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is SCTImageProcessor


def test_a_checkpoint_with_a_processor_of_transformers_goes_on_working(make_model, tmp_path, processor) -> None:
    model, image = make_model(), tmp_path / "grey.png"
    size = {"height": 64, "width": 64}
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (90, 50), dtype=np.uint16)).save(image)
    for kind in (ViTImageProcessor, SCTImageProcessor):
        model.save_pretrained(tmp_path / kind.__name__)
        kind(size=size, image_mean=MEAN, image_std=STD).save_pretrained(tmp_path / kind.__name__)
    old, new = (
        Tagger.from_pretrained(tmp_path / kind.__name__, "cpu") for kind in (ViTImageProcessor, SCTImageProcessor)
    )
    assert type(old.processor) is ViTImageProcessor
    (before,), (after,) = (list(tagger.tag([image], threshold=0)) for tagger in (old, new))
    assert [label for label, _ in after.tags] == [label for label, _ in before.tags]
    assert [score for _, score in after.tags] == pytest.approx([score for _, score in before.tags], abs=1e-6)


def test_it_travels_with_a_checkpoint(tmp_path, processor, monkeypatch) -> None:
    """In a process that never imports the package, its code comes from the folder."""
    monkeypatch.setattr(SCTImageProcessor, "_auto_class", "AutoImageProcessor")
    processor.save_pretrained(tmp_path / "model")
    image = Image.fromarray(random_image(50, 90, 4), "RGBA")
    image.save(tmp_path / "image.png")
    program = (
        "import sys, numpy; from transformers import AutoImageProcessor\n"
        "processor = AutoImageProcessor.from_pretrained('model', trust_remote_code=True)\n"
        "numpy.save('tensor.npy', processor('image.png', return_tensors='np')['pixel_values'])\n"
        "assert 'sct_hf' not in sys.modules"
    )
    environment = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    expected = eval_transform([24, 40], MEAN, STD)(image)
    np.testing.assert_allclose(np.load(tmp_path / "tensor.npy")[0], expected, rtol=0, atol=1e-6)
