"""A model or an exported file as a function on NumPy arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sct_hf.export.graph import INPUT, plain_outputs
from sct_hf.export.optional import require
from sct_hf.model.backbone_sct import BackbonePreTrainedModel

Runner = Callable[[np.ndarray], list[np.ndarray]]
"""From `pixel_values` (B, channels, H, W) float32 to the outputs: logits and scores (B, C), maps if exported."""


def eager_runner(model: BackbonePreTrainedModel, maps: tuple[str, ...] = ()) -> Runner:
    """The model itself, on the CPU in evaluation mode, with torch's number of threads."""
    model.eval()

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [tensor.numpy() for tensor in plain_outputs(model, torch.from_numpy(pixels), maps)]

    return run


def torch_export_runner(path: Path, threads: int) -> Runner:
    """A `torch.export` program, with torch's number of threads."""
    module = torch.export.load(path).module()

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [tensor.numpy() for tensor in module(**{INPUT: torch.from_numpy(pixels)})]

    return run


def onnx_runner(path: Path, threads: int, **settings: str) -> Runner:
    """An ONNX file in ONNX Runtime on the CPU; 0 threads means the library's default."""
    require("onnxruntime", purpose="running an ONNX file")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    for name, value in settings.items():
        options.add_session_config_entry(f"session.{name}", value)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {INPUT: pixels})


def compact_runner(path: Path, threads: int) -> Runner:
    """An ONNX file with small weights, taken back to float32 once, when it is opened."""
    return onnx_runner(path, threads, disable_quant_qdq="1")


def openvino_runner(path: Path, threads: int) -> Runner:
    """An OpenVINO IR on the CPU in float32; 0 threads means the library's default."""
    require("openvino", purpose="running an OpenVINO file")
    import openvino

    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda pixels: [np.array(value) for value in compiled({INPUT: pixels}).to_tuple()]
