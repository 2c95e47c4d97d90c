"""A graph as an ONNX file."""

from pathlib import Path

import torch

from sct_hf.export.graph import INPUT, Graph
from sct_hf.export.optional import require

OPSET = 20  # the first with GELU as one operator; ONNX Runtime 1.17 and later run it
_ANY_SIZE = 2**62  # what folds into more than a million numbers stays, unless it replaces as many


def write_onnx(graph: Graph, path: Path) -> None:
    """Write an ONNX file with torch's exporter. Axes with variable length get names.

    What depends on no input is computed once, here: prototypes and label text after their layers, for instance.

    Args:
        graph: The model.
        path: The file to write. Weights above 1.5 GB go into a second file, `<name>.data`.

    Raises:
        InputError: A package is not installed.
    """
    require("onnx", "onnxscript", purpose="export to ONNX")
    from onnxscript import optimizer

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
    optimizer.fold_constants(program.model, input_size_limit=_ANY_SIZE)
    optimizer.remove_unused_nodes(program.model)
    program.save(path)
