"""Collages: an augmentation for images with many labels."""

import torch
from torch import Tensor

from sct_hf.errors import InputError
from sct_hf.model.backbone_sct import BackbonePreTrainedModel


def collage(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join each image in the first half of a batch with one in the second half, side by side.

    A collage shows the labels of both images, and separates labels that always occur together. Half as many images
    of twice the width have the same number of pixels. The last image of an odd batch is dropped.

    Args:
        inputs: `labels` (B, C), values in [0, 1], −1 or NaN unknown, and images or maps (B, channels, H, W).

    Returns:
        The same fields with B // 2 rows, images or maps (B // 2, channels, H, 2W). A label is present in a collage if
        it is present in one half. Else it is unknown (NaN) if it is unknown in one half, or has the larger of the two
        values. A single image is returned unchanged.
    """
    half = len(inputs["labels"]) // 2
    if not half:
        return inputs
    joined = {}
    for name, value in inputs.items():
        left, right = value[:half], value[half : 2 * half]
        if name == "labels":
            left, right = (side.where(side >= 0, torch.nan) for side in (left, right))
            present = (left == 1) | (right == 1)
            joined[name] = torch.where(present, 1.0, torch.maximum(left, right))  # (B // 2, C)
        else:
            joined[name] = torch.cat((left, right), dim=3)  # (B // 2, channels, H, 2W)
    return joined


def require_double_width(model: BackbonePreTrainedModel) -> None:
    """Try a blank image of double width.

    Raises:
        InputError: The model's backbone does not accept it.
    """
    height, width = model.config.input_size
    try:
        model.backbone.check_input_size(height, 2 * width, model.config.num_channels)
    except ValueError as error:
        raise InputError(
            f"collage is set, but images of double width cannot be used ({error}): leave out --collage, or choose "
            "another backbone"
        ) from error
