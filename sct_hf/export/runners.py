"""A model or an exported file as a function on NumPy arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sct_hf.export.graph import INPUT
from sct_hf.export.optional import require
from sct_hf.model.backbone_sct import BackbonePreTrainedModel
from sct_hf.model.outputs_sct import label_scores

Runner = Callable[[np.ndarray], list[np.ndarray]]
"""From `pixel_values` (B, channels, H, W) float32 to the outputs: logits and scores (B, C), the plan if exported."""


def eager_runner(model: BackbonePreTrainedModel, *, maps: bool = False) -> Runner:
    """The model itself, on the CPU in evaluation mode, with torch's number of threads."""
    model.eval()

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            out = model(torch.from_numpy(pixels), return_dict=True, **({"output_maps": True} if maps else {}))
            scores = label_scores(out.logits, model.config)
        return [tensor.numpy() for tensor in (out.logits, scores, *([out.transport_plan] if maps else []))]

    return run


def torch_export_runner(path: Path, threads: int) -> Runner:
    """A `torch.export` program, with torch's number of threads."""
    module = torch.export.load(path).module()

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [tensor.numpy() for tensor in module(**{INPUT: torch.from_numpy(pixels)})]

    return run


def onnx_runner(path: Path, threads: int) -> Runner:
    """An ONNX file in ONNX Runtime on the CPU; 0 threads means the library's default."""
    require("onnxruntime", purpose="running an ONNX file")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {INPUT: pixels})


def openvino_runner(path: Path, threads: int) -> Runner:
    """An OpenVINO IR on the CPU in float32; 0 threads means the library's default."""
    require("openvino", purpose="running an OpenVINO file")
    import openvino

    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda pixels: [np.array(value) for value in compiled({INPUT: pixels}).to_tuple()]
