"""A graph as an ONNX file."""

from pathlib import Path

import torch

from sct_hf.export.graph import INPUT, Graph
from sct_hf.export.optional import require

OPSET = 20  # the first with GELU as one operator; ONNX Runtime 1.17 and later run it


def write_onnx(graph: Graph, path: Path) -> None:
    """Write an ONNX file with torch's exporter. Axes with variable length get names.

    Args:
        graph: The model.
        path: The file to write. Weights above 1.5 GB go into a second file, `<name>.data`.

    Raises:
        InputError: A package is not installed.
    """
    require("onnx", "onnxscript", purpose="export to ONNX")
    program = torch.onnx.export(
        graph.program,
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=list(graph.outputs),
        dynamic_shapes={INPUT: graph.open_axes},
    )
    assert program is not None
    program.save(path)
