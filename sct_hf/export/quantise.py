"""Int8 by static quantisation of an ONNX file, with scales from calibration images."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sct_hf.export.graph import INPUT
from sct_hf.export.optional import require

# Layers with weights, wherever they are; and in the backbone what bounds or selects their outputs, so that a scale
# need not cover what is cut off.
_LAYERS = ("Conv", "Gemm", "MatMul")
_BETWEEN = ("Add", "Clip", "MaxPool", "Relu")
# So many of the backbone's first layers stay float32: they hold hardly any of its weights, and rounding those to 7
# bits costs most. Measured with sct-efficientnet-lite0-voc2007, scales from 300 images, on 500 others: a logit moves
# by 0.21 on average with none, 0.14 with three, 0.11 with six, 0.10 with nine.
_FIRST_FLOAT = 6
_SCOPES = "pkg.torch.onnx.name_scopes"  # torch's exporter notes the modules that a node comes from


def quantise(source: Path, target: Path, images: Iterable[np.ndarray]) -> None:
    """Write an ONNX file whose convolutions and linear layers compute in int8.

    Weights are int8 with a scale for each output channel, activations uint8 with a scale for each tensor, from the
    least to the greatest value seen: that pair of types runs fastest on x86. x86 CPUs without VNNI add two products in
    16 bits and cut the sum off at 32,767. So weights take 7 bits, from -64 to 64, and no sum of two can pass
    2 · 255 · 64 = 32,640: the file means the same on every CPU. The backbone's first layers, products of two
    activations (attention, cosine similarity, transport) or with shares, softmax, norms and the sums of the head stay
    in float32. The notes of torch's exporter on every node go.

    Args:
        source: A float32 file that `write_onnx` made.
        target: The file to write.
        images: About a hundred inputs (1, channels, H, W) float32, iterated once.

    Raises:
        InputError: A package is not installed.
    """
    require("onnx", "onnxruntime", purpose="int8")
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images: Iterator[np.ndarray] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {INPUT: image}

    graph = onnx.load(source, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    shares = {node.output[0] for node in graph.node if node.op_type == "Softmax"}

    def in_backbone(node: Any) -> bool:
        return ".backbone" in {item.key: item.value for item in node.metadata_props}.get(_SCOPES, "")

    def is_layer(node: Any) -> bool:
        return node.op_type in _LAYERS and node.input[1] in weights and node.input[0] not in shares

    first = [node.name for node in graph.node if is_layer(node) and in_backbone(node)][:_FIRST_FLOAT]

    def stays(node: Any) -> bool:
        return node.name in first or not (is_layer(node) if node.op_type in _LAYERS else in_backbone(node))

    quantised = [*_LAYERS, *_BETWEEN]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it asks for a pre-processing that the exporter has done
    try:
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=quantised,
            nodes_to_exclude=[node.name for node in graph.node if node.op_type in quantised and stays(node)],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        root.setLevel(level)
    made = onnx.load(target)
    remove_notes(made)
    onnx.save(made, target)


def remove_notes(model: Any) -> None:
    """Remove from an ONNX model what torch's exporter notes on every node: modules, lines of code, shapes."""
    for node in model.graph.node:
        del node.metadata_props[:]
    del model.graph.value_info[:]
