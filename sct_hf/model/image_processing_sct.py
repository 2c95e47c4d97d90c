"""Images: reading in any form within limits, conversion to the input of a model, and heatmaps over them."""

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from io import BytesIO
from typing import Any
from urllib.request import urlopen

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as TF
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
from transformers.image_utils import ChannelDimension, PILImageResampling, infer_channel_dimension_format

_LONGEST = 4096  # pixels of a side; timm's largest models take 1,024
_PATIENCE = 60  # seconds without a byte from a server
_URLS = ("http://", "https://")
_ORIENTATION = ExifTags.Base.Orientation
_LIST = 4  # times max_pixels that all images of a list may have
_TEXT = 64  # characters of a text that counts as one

HEATMAP_SIDE = 1024
"""Pixels that the heatmaps of a pipeline have at most a side."""

# Every 17th of the 256 colours of "inferno" (Nathaniel Smith and Stéfan van der Walt, CC0), from dark to bright.
_INFERNO = (
    "000004 0c0826 240c4f 420a68 5d126e 781c6d 932667 ae305c c73e4c dd513a ed6925 f8850f fca50a fac62d f2e661 fcffa4"
)
_OPACITY, _LEVELS, _FINEST = 0.75, 2048, 128
_STRIP = 64  # rows that are coloured together

SizeCheck = Callable[[tuple[int, int]], None]


class LimitError(ValueError):
    """A call exceeds a limit; the message has the value, the limit and the remedy."""


def _limit(default: int, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class Limits:
    """Limits of a pipeline, set when it is made. Each is checked before the work that it limits.

    This project chose the values for calls within 1.5 GB of memory and ten seconds of a processor core.

    Raises:
        ValueError: A limit is not a whole number from 1.
    """

    max_pixels: int = _limit(26_000_000, "Most pixels of an image; all images of a list may have four times as many")
    max_images: int = _limit(64, "Most images of a list, and most heatmaps of all its images")
    max_labels: int = _limit(1024, "Most labels given as text; each prompt of up to 64 characters counts as one")

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} is {value!r}: give a whole number from 1.")

    @classmethod
    def names(cls) -> list[str]:
        """The names of the limits."""
        return [limit.name for limit in fields(cls)]

    def check_image(self, size: tuple[int, int]) -> None:
        """Raise `LimitError` if an image of this (width, height) is too large, before it is decoded."""
        if (count := size[0] * size[1]) > (most := self.max_pixels):
            found = f"the image has {count:,} pixels, more than max_pixels, {most:,}"
            raise LimitError(f"{found}: give a smaller one, or raise max_pixels")

    def check_list(self, sizes: Iterable[tuple[int, int]], count: int) -> None:
        """Raise `LimitError` for too many images, or too many pixels in total, before any is decoded."""
        if count > (most := self.max_images):
            found = f"inputs has {count:,} images, more than max_images, {most:,}"
            raise LimitError(f"{found}: give fewer at a time, or raise max_images")
        if (total := sum(width * height for width, height in sizes)) > (most := _LIST * self.max_pixels):
            found = f"inputs has {total:,} pixels in {count} images, more than {_LIST} times max_pixels, {most:,}"
            raise LimitError(f"{found}: give fewer at a time, or smaller ones, or raise max_pixels")

    def check_heatmaps(self, count: int, images: int = 1) -> None:
        """Raise `LimitError` if one of `images` images has more heatmaps than its share of `max_images`."""
        if count > (most := self.max_images // images):
            share = f"{most:,} for each of {images} images" if images > 1 else f"{most:,}"
            found = f"heatmaps of {count:,} tags are more than max_images allows, {share}"
            raise LimitError(f"{found}: set top_k or a higher threshold, or raise max_images")

    def check_labels(self, texts: Mapping[str, Sequence[str]], templates: Any = None) -> None:
        """Raise `LimitError` for too many or too long labels, with their texts or templates."""
        prompts = [one for one in templates if isinstance(one, str)] if isinstance(templates, list | tuple) else [""]
        count = max(len(texts), len(prompts))
        if count <= self.max_labels:
            asked = (text for name, own in texts.items() for text in own or [name + prompt for prompt in prompts])
            count = sum(-(-len(text) // _TEXT) for text in asked)
        if count > (most := self.max_labels):
            found = f"labels come to {count:,} texts of up to {_TEXT} characters, more than max_labels, {most:,}"
            raise LimitError(f"{found}: give fewer labels or shorter texts, or raise max_labels")


def to_rgb(image: Image.Image, check: SizeCheck | None = None) -> Image.Image:
    """Turn an image of any mode upright by its EXIF orientation and convert it to RGB.

    16-bit greyscale is scaled to 8 bits; floating-point greyscale has levels from 0 to 255. An alpha channel or a
    palette's transparency is dropped. The result is a copy without metadata. Unreadable EXIF is ignored.

    Args:
        image (`Image.Image`): The image, loaded or not.
        check (`Callable`, *optional*): Called with (width, height) before decoding; raises if they are too large.
    """
    if check is not None:
        check(image.size)
    image.load()
    orientation = _orientation(image)
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L")  # the sum is truncated
    elif image.mode == "P":
        image = image.convert("RGBA")  # straight to RGB, Pillow warns of transparency
    image = image.convert("RGB")  # a copy, if it is RGB already
    image.info = {}
    image.getexif()[_ORIENTATION] = orientation
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # broken EXIF makes Pillow raise almost anything
        return None


def open_image(source: str | os.PathLike[str], check: SizeCheck | None = None) -> Image.Image:
    """Read an image and convert it with `to_rgb`.

    Args:
        source (`str` or `os.PathLike`): A file; a string may also be an http(s) or data URL, or base64.
        check (`Callable`, *optional*): See `to_rgb`.

    Raises:
        ValueError: The source is none of these.
        OSError: The source cannot be read, or is not an image.
    """
    with Image.open(_file(source)) as image:
        return to_rgb(image, check)


def told_size(source: Any) -> tuple[int, int]:
    """The (width, height) of an image, without decoding it; (0, 0) for a URL or if it is not an image."""
    if isinstance(source, Image.Image):
        return source.size
    if isinstance(source, str) and source.startswith(_URLS):
        return 0, 0
    try:
        with Image.open(_file(source)) as image:
            return image.size
    except Exception:  # broken files make Pillow's decoders raise almost anything
        return 0, 0


def _file(source: str | os.PathLike[str]) -> str | os.PathLike[str] | BytesIO:
    """What Pillow opens of a source."""
    if isinstance(source, str):
        if source.startswith((*_URLS, "data:image/")):
            with urlopen(source, timeout=_PATIENCE) as answer:
                return BytesIO(answer.read())
        if not os.path.isfile(source):
            return BytesIO(_decoded(source))
    return source


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"{text[:200]!r} is not a file, an http(s) or data URL, or base64") from error


def rgb_levels(image: Image.Image | np.ndarray | Tensor, input_data_format: str | None = None) -> Tensor:
    """Convert an image in any form to three channels of 8 bits.

    Args:
        image (`Image.Image`, `np.ndarray` or `Tensor`): An image of any mode; or (H, W, N) or (N, H, W) with N
            channels: 1 for grey, 3 for RGB, 4 with alpha, which is dropped. Floating-point and boolean pixels are in
            [0, 1], `uint16` in [0, 65535], all others in [0, 255].
        input_data_format (`str`, *optional*): `"channels_first"` or `"channels_last"`; inferred from the shape if not
            given.

    Returns:
        `Tensor` of shape (3, H, W), uint8.

    Raises:
        ValueError: The shape is another one, or pixels are outside that range.
    """
    if isinstance(image, Image.Image):
        plain = image.mode == "RGB" and _orientation(image) in (None, 1)
        return TF.pil_to_tensor(image if plain else to_rgb(image))
    pixels: Any = image if isinstance(image, Tensor) else torch.from_numpy(image.copy())
    layout = input_data_format or infer_channel_dimension_format(pixels, num_channels=(1, 3, 4))
    if layout == ChannelDimension.LAST:
        pixels = pixels.movedim(-1, 0)
    if pixels.dtype != torch.uint8:
        unit = pixels.is_floating_point() or pixels.dtype == torch.bool
        highest = 1 if unit else 65535 if pixels.dtype == torch.uint16 else 255
        levels = (pixels.to(torch.float32) * (255 / highest)).round()
        if not (levels.min() >= 0 and levels.max() <= 255):
            raise ValueError(
                f"images hold {pixels.dtype} pixels outside [0, {highest}]: give floating-point ones in [0, 1], or "
                "uint8."
            )
        pixels = levels.to(torch.uint8)
    return pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)  # (3, H, W)


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _are_numbers(value: Any, low: float, high: float, count: int = 3) -> bool:
    """Whether a value is a number in [low, high], or so many of them."""
    several = isinstance(value, list | tuple) and len(value) == count
    return all(_is_number(one, low, high) for one in (value if several else [value]))


def _is_size(value: Any) -> bool:
    sides = [*value.values()] if isinstance(value, Mapping) and {*value} == {"height", "width"} else value
    sides = sides if isinstance(sides, list | tuple) else [sides]
    return 1 <= len(sides) <= 2 and all(isinstance(one, int) and _is_number(one, 1, _LONGEST) for one in sides)


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **{
        name: (lambda value: isinstance(value, bool), "true or false")
        for name in ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb", "do_center_crop", "do_pad")
    },
    "size": (_is_size, f'{{"height": H, "width": W}} in pixels, each from 1 to {_LONGEST}'),
    "resample": (lambda value: isinstance(value, int) and value in {*PILImageResampling}, "a filter of Pillow, 0–5"),
    "rescale_factor": (lambda value: _is_number(value, 1e-9, 1e9), "a number > 0"),
    "image_mean": (lambda value: _are_numbers(value, -1e9, 1e9), "a number for each of 3 channels"),
    "image_std": (lambda value: _are_numbers(value, 1e-9, 1e9), "a number > 0 for each of 3 channels"),
}
"""What a field of an image processor may be, and what to say of another value."""


class _EvaluationTransform:
    """Read and convert images as in evaluation; the backends resize and normalise."""

    do_resize = do_rescale = do_normalize = True
    size = {"height": 448, "width": 448}
    resample = PILImageResampling.BILINEAR
    image_mean = [0.485, 0.456, 0.406]
    image_std = [0.229, 0.224, 0.225]

    @classmethod
    def get_image_processor_dict(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers has it, but `ValueError` for a preprocessor_config.json that holds no object."""
        try:
            found = super().get_image_processor_dict(*args, **kwargs)  # type: ignore[misc]
        except (AttributeError, RecursionError, TypeError):
            found = (None,)
        if isinstance(found[0], dict):
            return found
        raise ValueError("preprocessor_config.json holds no JSON object: take a saved one.")

    def _set_attributes(self, **kwargs: Any) -> None:
        """Set the fields, once each is found to be usable; numbers and arrays of numpy become plain ones.

        Raises:
            ValueError: A field that cannot be used, with its value and what to give instead.
        """
        given = {name: value for name, value in kwargs.items() if value is not None}
        for name, (usable, remedy) in _FIELDS.items():
            if name in given:
                value = given[name] = getattr(given[name], "tolist", lambda name=name: given[name])()
                if not usable(value):
                    raise ValueError(f"{name}={str(value)[:200]} cannot be used: give {remedy}.")
        super()._set_attributes(**kwargs | given)  # type: ignore[misc]

    def fetch_images(self, images: Any) -> Any:
        """Read images given as strings, and add a channel to grey arrays (H, W)."""
        if isinstance(images, (list, tuple)):
            return [self.fetch_images(image) for image in images]
        if isinstance(images, str):
            return open_image(images)
        if isinstance(images, (np.ndarray, Tensor)) and images.ndim == 2:
            return images[None]
        return super().fetch_images(images)  # type: ignore[misc]

    def process_image(
        self,
        image: Image.Image | np.ndarray | Tensor,
        do_rescale: bool | None = True,
        input_data_format: str | None = None,
        device: torch.device | None = None,
        **kwargs: Any,
    ) -> Any:
        """Convert one image to RGB (3, H, W): uint8, or float32 in [0, 1] if it is float and not rescaled."""
        levels = rgb_levels(image, input_data_format).to(device)
        in_unit_range = "float" in str(getattr(image, "dtype", ""))
        return levels / 255 if in_unit_range and not do_rescale else levels


class SCTImageProcessor(_EvaluationTransform, TorchvisionBackend):  # type: ignore[misc]
    """Image processor of the evaluation transform: resize without crop, scale to [0, 1], normalise.

    It accepts images of any mode and size, arrays and tensors (`rgb_levels`), files and URLs (`open_image`).
    """


class SCTImageProcessorPil(_EvaluationTransform, PilBackend):
    """`SCTImageProcessor` with Pillow's resizing, for `backend="pil"`.

    Its rounding differs by one of 255 levels in 0.2 % of the values (60 images of VOC2007 at 448 px).
    """

    def process_image(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """As `SCTImageProcessor.process_image`, but returns an array."""
        return super().process_image(*args, **kwargs).numpy()


def heatmap_overlay(image: Image.Image, weights: Any) -> Image.Image:
    """Draw a map of weights over an image: bright for the largest weights, the grey image for the smallest.

    The map is scaled to its own range (a constant one leaves the image grey) and enlarged bilinearly. It sets colour
    and opacity.

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
    """The box around the peak of a map of weights, where it is at least half of its range.

    The map is scaled to its own range and enlarged as for the overlay. The box encloses the region that is connected
    to the largest weight by steps up, down, left and right over weights of at least half of that range. A constant map
    gives the whole image. The model was not trained on boxes: they show where to look, not where an object ends.

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
    """Weights (H', W') scaled to [0, top], as an image of 32-bit floats."""
    low, high = float(np.min(weights)), float(np.max(weights))
    return Image.fromarray((np.asarray(weights, dtype=np.float32) - low) * (top / ((high - low) or 1.0)))


def _colour_table() -> np.ndarray:
    """Colour and opacity of each level, as bytes of one number: (_LEVELS,) uint32."""
    colours = np.array([list(bytes.fromhex(colour)) for colour in _INFERNO.split()])  # (16, 3)
    levels, places = np.linspace(0, 1, _LEVELS), np.linspace(0, 1, len(colours))
    channels = [np.interp(levels, places, channel) for channel in colours.T]
    return np.stack([*channels, 255 * _OPACITY * levels], axis=-1).round().astype(np.uint8).view(np.uint32)[:, 0]


__all__ = ["LimitError", "Limits", "SCTImageProcessor", "SCTImageProcessorPil", "heatmap_box", "heatmap_overlay"]
__all__ += ["open_image", "rgb_levels", "to_rgb", "told_size"]
