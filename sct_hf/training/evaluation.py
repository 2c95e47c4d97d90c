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
from sct_hf.model.outputs_sct import label_scores
from sct_hf.progress import progress_bar


def model_inputs(batch: dict[str, Tensor], *, channels_last: bool) -> dict[str, Tensor]:
    """Select the inputs of a model's forward from a batch, with images in the chosen memory format."""
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
        model: The model, not wrapped for several processes. It stays in evaluation mode.
        loader: Prepared by `accelerator`; batches `{"pixel_values" (B, 3, H, W) or "backbone_features" (B, D₀, h, w),
            "labels" (B, C'), "index" (B,)}`. Images repeated to fill the batches of several processes count once.
        accelerator: The accelerator of this process, with device and number format.
        channels_last: Memory format of the images.
        description: Caption of the progress bar.
        options: Further arguments of the model, such as another vocabulary with C labels.
        known: Known labels (N, C) to give to the model, by index.
        score: Function to call with the inputs instead of the model.

    Returns:
        Scores (N, C) float32 in [0, 1], calibrated for the checkpoint's own labels; targets (N, C') float32 from the
        loader; and index (N,) int64. All are sorted by index and equal in every process.

    Raises:
        InputError: A score is NaN.
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
        own = score is None and "vocabulary" not in (options or {})
        scored = label_scores(logits, model.config) if own else logits.float().sigmoid()
        parts = accelerator.gather((scored, targets, batch["index"]))
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
