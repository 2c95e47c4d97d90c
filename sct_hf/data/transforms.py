"""Transforms from an image to the input of a model."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from sct_hf.errors import InputError
from sct_hf.model.image_processing_sct import to_rgb

Transform = Callable[[Image.Image], Tensor]


class Cutout(v2.Transform):
    """Paint one box of half the image's height and width in a random colour (CLSL).

    The centre is uniform over the image, so the part of the box beyond the border is lost.
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the box and its colour for an image (3, H, W)."""
        height, width = v2.functional.get_size(flat_inputs[0])
        top = int(torch.randint(height, ())) - height // 4
        left = int(torch.randint(width, ())) - width // 4
        rows = slice(max(top, 0), top + height // 2)
        columns = slice(max(left, 0), left + width // 2)
        return {"box": (rows, columns), "colour": torch.randint(256, (3, 1, 1), dtype=torch.uint8)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Return a painted copy of a uint8 image (3, H, W)."""
        rows, columns = params["box"]
        image = inpt.clone()
        image[..., rows, columns] = params["colour"]
        return image  # (3, H, W)


class _Contiguous(torch.nn.Module):
    """Make memory contiguous in (3, H, W) order, which makes later steps several times faster."""

    def forward(self, image: Tensor) -> Tensor:
        return image.contiguous()


def image_size_pair(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) of an `image_size` given as one side or as [height, width].

    Raises:
        InputError: The size is not one or two positive whole numbers.
    """
    sides = [image_size, image_size] if isinstance(image_size, int) else list(image_size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise InputError(f"image_size is {image_size!r}: give one positive number of pixels, or [height, width]")
    return sides[0], sides[1]


def eval_transform(image_size: int | Sequence[int], mean: Sequence[float], std: Sequence[float]) -> Transform:
    """Build the transform of evaluation: resize to the full size without crop, normalise (CLSL).

    Args:
        image_size: Pixels of the square's side, or [height, width].
        mean: Three channel means of RGB in [0, 1].
        std: Three channel standard deviations of RGB in [0, 1].

    Returns:
        A function from a PIL image of any mode to float32 (3, H, W).
    """
    return v2.Compose([*_resized(image_size), *_normalised(mean, std)])


def train_transform(
    image_size: int | Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    flip: bool = True,
    cutout: bool = True,
    rand_augment: bool = True,
) -> Transform:
    """Build the transform of training: resize without crop, flip, cutout, RandAugment, normalise (CLSL).

    All randomness comes from torch's global generator.

    Args:
        image_size: Pixels of the square's side, or [height, width].
        mean: Three channel means of RGB in [0, 1].
        std: Three channel standard deviations of RGB in [0, 1].
        flip: Mirror left and right with probability 1/2.
        cutout: Paint one box of half the side in a random colour.
        rand_augment: Two random operations of magnitude 9 of 30.

    Returns:
        A function from a PIL image of any mode to float32 (3, H, W).
    """
    augmentations: list[torch.nn.Module] = []
    if flip:
        augmentations.append(v2.RandomHorizontalFlip())
    if cutout:
        augmentations.append(Cutout())
    if rand_augment:
        augmentations.append(v2.RandAugment(interpolation=v2.InterpolationMode.BILINEAR))
    return v2.Compose([*_resized(image_size), *augmentations, *_normalised(mean, std)])


def _resized(image_size: int | Sequence[int]) -> list[Callable[..., Any]]:
    size = image_size_pair(image_size)
    return [to_rgb, v2.PILToTensor(), v2.Resize(size, v2.InterpolationMode.BILINEAR, antialias=True)]


def _normalised(mean: Sequence[float], std: Sequence[float]) -> list[Callable[..., Any]]:
    for field, values in (("image_mean", mean), ("image_std", std)):
        if len(values) != 3:
            raise InputError(f"{field} is {list(values)}: give three numbers, for red, green and blue")
    if min(std) <= 0:
        raise InputError(f"image_std is {list(std)}: give three positive numbers")
    return [_Contiguous(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std), inplace=True)]
