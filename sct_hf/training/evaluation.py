"""Scores of a model on a data set."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from sct_hf.errors import InputError
from sct_hf.model.backbone_sct import BackbonePreTrainedModel
from sct_hf.progress import progress_bar


def model_inputs(batch: dict[str, Tensor], *, channels_last: bool) -> dict[str, Tensor]:
    """Return what of a batch goes into a model's forward, images in the memory format asked for."""
    inputs = {name: value for name, value in batch.items() if name != "index"}
    if channels_last and "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].contiguous(memory_format=torch.channels_last)
    return inputs


@torch.inference_mode()
def evaluate_model(
    model: BackbonePreTrainedModel,
    loader: DataLoader[Any],
    accelerator: Accelerator,
    *,
    channels_last: bool = True,
    description: str = "scoring",
    options: Mapping[str, Any] | None = None,
    known: Tensor | None = None,
    score: Callable[..., Any] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score every image of a data set once.

    Args:
        model: The model, not wrapped for several processes; it is left in evaluation mode.
        loader: Prepared by `accelerator`; batches `{"pixel_values" (B, 3, H, W) or "backbone_features" (B, D₀, h, w),
            "labels" (B, C'), "index" (B,)}`. Images that several processes share to even out their batches count
            once.
        accelerator: Of this process; decides device and number format.
        channels_last: Memory format of the images.
        description: Caption of the progress bar.
        options: Further arguments of the model, such as another vocabulary; C is then the number of its labels.
        known: (N, C), what the model is told of each image's labels, by the index.
        score: What is called with the inputs, instead of the model.

    Returns:
        Scores (N, C) float32 in [0, 1], targets (N, C') float32 as the loader gives them, and index (N,) int64, all
        in the order of the index and the same in every process.

    Raises:
        InputError: A score is not a number.
    """
    model.eval()
    gathered: list[tuple[np.ndarray, ...]] = []
    for batch in progress_bar(loader, shown=accelerator.is_main_process, desc=description, unit="batch", leave=False):
        inputs = model_inputs(batch, channels_last=channels_last)
        targets = inputs.pop("labels")
        if known is not None:
            inputs["known"] = known[batch["index"].cpu()].to(targets.device)
        with accelerator.autocast():
            found = (score or model)(**inputs, **(options or {}))
        logits = found if isinstance(found, Tensor) else found.logits  # (B, C)
        parts = accelerator.gather((logits.float().sigmoid(), targets, batch["index"]))
        gathered.append(tuple(part.cpu().numpy() for part in parts))
    scores, truth, numbers = (np.concatenate(column) for column in zip(*gathered, strict=True))
    index, first = np.unique(numbers, return_index=True)
    scores, truth = scores[first], truth[first]
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        raise InputError(
            f"the model gives scores that are not numbers for {bad.sum()} of {len(scores)} images, first number "
            f"{index[bad][0]}: its weights are broken, or mixed_precision overflows; try mixed_precision no or bf16"
        )
    return scores, truth, index
