"""Scoring several images in one pass of the pipeline."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel

from sct_hf.model.pipeline_sct import MultiLabelImageClassificationPipeline


def run_together(
    pipeline: MultiLabelImageClassificationPipeline, inputs: Sequence[Mapping[str, Any]], running: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Run one forward pass of a pipeline for several images.

    Args:
        pipeline: The pipeline.
        inputs: The result of its `preprocess` for each image.
        running: Arguments of its `forward`, from `stages`.

    Returns:
        The input of its `postprocess` for each image.
    """
    if not inputs:
        return []
    batch = {name: [each[name] for each in inputs] for name in inputs[0]}
    outputs = pipeline.forward(batch | {"pixel_values": torch.cat(batch["pixel_values"])}, **running)
    return [
        {name: value[row : row + 1] if torch.is_tensor(value) else value[row] for name, value in outputs.items()}
        for row in range(len(inputs))
    ]


def run_by(engine: Callable[[np.ndarray], np.ndarray], inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Run another engine for several images.

    Args:
        engine: From `pixel_values` (B, 3, H, W) float32 to calibrated scores (B, C) float32.
        inputs: The result of the pipeline's `preprocess` for each image.

    Returns:
        The input of the pipeline's `postprocess` for each image.
    """
    if not inputs:
        return []
    pixels = torch.cat([each["pixel_values"] for each in inputs]).float().numpy()
    scores = torch.from_numpy(np.ascontiguousarray(engine(pixels)))
    rest = [{name: value for name, value in each.items() if name != "pixel_values"} for each in inputs]
    return [each | {"scores": scores[row : row + 1]} for row, each in enumerate(rest)]


def score_images(
    model: PreTrainedModel, processor: Any, images: Sequence[Image.Image], *, maps: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Score images in one forward pass of the pipeline, in evaluation mode. The model's mode is restored afterwards.

    Args:
        model: A multi-label image classifier.
        processor: Its image processor.
        images: B images, any mode.
        maps: Whether to return the maps of the labels.

    Returns:
        Scores (B, C) float32, the sigmoid of the logits; and the maps of the labels (B, C, H', W')
        float32, or None if not asked for or if the model has none.
    """
    mode = model.training
    try:
        pipeline = MultiLabelImageClassificationPipeline(
            model=model, image_processor=processor, device=model.device, max_pixels=sys.maxsize
        )
        maps = maps and pipeline.gives_maps
        reading, running, _ = pipeline.stages(maps=maps)
        outputs = run_together(pipeline, [pipeline.preprocess(image, **reading) for image in images], running)
    finally:
        model.train(mode)
    scores = torch.cat([output["scores"] for output in outputs]).numpy()
    return scores, torch.cat([output["maps"] for output in outputs]).numpy() if maps else None
