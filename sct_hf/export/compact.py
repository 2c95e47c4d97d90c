"""Small weights: an ONNX file that stores them in 8 or 16 bits and computes in float32."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sct_hf.export.graph import INPUT
from sct_hf.export.optional import require
from sct_hf.export.quantise import remove_notes

# The smallest weights, with this share of all, keep 16 bits: first layers, depthwise convolutions, classifiers.
# They cost little, and rounding them to 8 bits costs most. Measured with sct-efficientnet-lite0-voc2007.
_SHARE_IN_16_BITS = 0.075
_LEAST = 1024  # numbers; shorter tensors stay as they are


def compact(source: Path, target: Path, images: Iterable[np.ndarray] | None) -> None:
    """Write an ONNX file with the weights of layers in int8 and all other tables in float16.

    A weight has one scale for each output channel. The mean error that rounding makes in a convolution's outputs is
    taken from its bias (Nagel et al., 2019, "Data-Free Quantization", section 4.2), if there are images to measure
    its inputs on. Nothing else is rounded: activations stay in float32, and weights are float32 again once the file
    is opened with ONNX Runtime's setting `session.disable_quant_qdq`.

    Args:
        source: A float32 file that `write_onnx` made.
        target: The file to write.
        images: About a hundred inputs (1, channels, H, W) float32, iterated once; or None.
    """
    require("onnx", "onnxruntime", purpose="small weights")
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(source)
    remove_notes(model)
    graph = model.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in held.items()}
    weights = {name: each for name, each in weights.items() if each.dtype == np.float32 and each.size >= _LEAST}
    axes = _channel_axes(graph, weights)
    rounded, nodes = dict[str, np.ndarray](), list[Any]()
    for name in _in_8_bits(weights, axes):
        bytes_, scale = _to_int8(weights[name], axes[name])
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], axis=axes[name]))
        graph.initializer.append(numpy_helper.from_array(bytes_, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale.ravel(), f"{name}_scale"))
        rounded[name] = bytes_ * scale
    for name in weights.keys() - rounded.keys():
        nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
        graph.initializer.append(numpy_helper.from_array(weights[name].astype(np.float16), f"{name}_half"))
    if images is not None:
        errors = {name: rounded[name] - weights[name] for name in rounded}
        for name, values in _corrected_biases(source, graph, held, errors, images).items():
            held[name].CopyFrom(numpy_helper.from_array(values, name))
    for name in weights:
        graph.initializer.remove(held[name])
    for node in reversed(nodes):
        graph.node.insert(0, node)
    onnx.save(model, target)


def _channel_axes(graph: Any, weights: dict[str, np.ndarray]) -> dict[str, int]:
    """The axis of the output channels of each weight that is a layer's and nothing else."""
    axes: dict[str, set[int | None]] = {name: set() for name in weights}
    shares = {node.output[0] for node in graph.node if node.op_type == "Softmax"}
    for node in graph.node:
        options = {option.name: option.i for option in node.attribute}
        layer = {"Conv": 0, "Gemm": 0 if options.get("transB") else 1, "MatMul": -1}.get(node.op_type)
        for place, name in enumerate(node.input):
            if name in axes:
                whole = place == 1 and layer is not None and node.input[0] not in shares  # as in `quantise`
                axes[name].add(layer % weights[name].ndim if whole and layer is not None else None)
    return {name: axis for name, (axis, *others) in axes.items() if axis is not None and not others}


def _in_8_bits(weights: dict[str, np.ndarray], axes: dict[str, int]) -> list[str]:
    """Layers but for the smallest."""
    kept = _SHARE_IN_16_BITS * sum(each.size for each in weights.values())
    chosen = []
    for name in sorted(axes, key=lambda name: weights[name].size):
        kept -= weights[name].size
        if kept < 0:
            chosen.append(name)
    return chosen


def _to_int8(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights as int8 from -127 to 127, and the scale of each channel, of the same number of axes."""
    others = tuple(place for place in range(weight.ndim) if place != axis)
    scale = np.abs(weight).max(others, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.round(weight / scale).astype(np.int8), scale


def _corrected_biases(
    source: Path, graph: Any, held: dict[str, Any], errors: dict[str, np.ndarray], images: Iterable[np.ndarray]
) -> dict[str, np.ndarray]:
    """Biases of convolutions without the mean error that rounded weights make in their outputs."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    layers = [node for node in graph.node if node.op_type == "Conv" and node.input[1] in errors]
    layers = [node for node in layers if len(node.input) == 3 and node.input[2] in held]
    inputs = {node.input[0] for node in layers}
    names = sorted(inputs - {INPUT})
    shown = onnx.load(source)
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    means: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    for image in images:
        found = session.run(names, {INPUT: image}) if names else []
        for name, values in {INPUT: image, **dict(zip(names, found, strict=True))}.items():
            if name in inputs:
                means[name].append(values.mean((0, 2, 3)))  # (channels,)
    corrected = {}
    for node in layers:
        mean, error = np.mean(means[node.input[0]], axis=0), errors[node.input[1]]
        groups = len(mean) // error.shape[1]
        seen = mean.reshape(groups, -1).repeat(len(error) // groups, axis=0)  # (outputs, inputs of its group)
        moved = np.einsum("oihw,oi->o", error, seen)
        corrected[node.input[2]] = (numpy_helper.to_array(held[node.input[2]]) - moved).astype(np.float32)
    return corrected
