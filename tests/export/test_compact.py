"""Small weights, by the numbers that the file gives back, against the float file's."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the export needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the export needs onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from sct_hf.export.compact import compact  # noqa: E402
from sct_hf.export.graph import INPUT  # noqa: E402


def write(path: Path, nodes: list, weights: dict[str, np.ndarray], output: str) -> Path:
    given = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 64, None, None])
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", [given], [made], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def run(path: Path, image: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(None, {INPUT: image})[0]


@pytest.fixture
def convolution(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """One large convolution in two groups, and images that are far from 0 on average."""
    rng = np.random.default_rng(0)
    weights = {
        "weight": rng.normal(size=(96, 32, 3, 3)).astype(np.float32) * rng.uniform(0.1, 9, (96, 1, 1, 1)),
        "bias": rng.normal(size=96).astype(np.float32),
    }
    weights["weight"] = weights["weight"].astype(np.float32)
    node = helper.make_node("Conv", [INPUT, "weight", "bias"], ["made"], group=2)
    return write(tmp_path / "float.onnx", [node], weights, "made"), weights


def stored(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def test_weights_are_rounded_to_the_nearest_of_255_steps(convolution, tmp_path: Path) -> None:
    source, weights = convolution
    compact(source, tmp_path / "small.onnx", None)
    found = stored(tmp_path / "small.onnx")
    assert found["weight_int8"].dtype == np.int8
    step = np.abs(weights["weight"]).reshape(96, -1).max(1) / 127
    np.testing.assert_allclose(found["weight_scale"], step, rtol=1e-6)
    error = found["weight_int8"] * found["weight_scale"][:, None, None, None] - weights["weight"]
    assert (np.abs(error).reshape(96, -1).max(1) <= step * 0.5001).all()
    np.testing.assert_array_equal(found["bias"], weights["bias"])
    assert (tmp_path / "small.onnx").stat().st_size < 0.3 * source.stat().st_size


def test_the_mean_error_is_taken_from_the_bias(convolution, tmp_path: Path) -> None:
    source, _ = convolution
    images = [np.random.default_rng(seed).uniform(2, 4, (1, 64, 9, 9)).astype(np.float32) for seed in range(8)]
    compact(source, tmp_path / "rounded.onnx", None)
    compact(source, tmp_path / "corrected.onnx", images)
    errors = {}
    for name in ("rounded", "corrected"):
        apart = [run(tmp_path / f"{name}.onnx", image) - run(source, image) for image in images]
        errors[name] = np.abs(np.concatenate(apart).mean((0, 2, 3)))  # of each channel
    assert errors["corrected"].max() < 0.1 * errors["rounded"].max()


def test_small_tables_and_shares_keep_16_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "large": rng.normal(size=(64, 600)).astype(np.float32),
        "small": rng.normal(size=(600, 2)).astype(np.float32),
        "shares": rng.random((600, 200)).astype(np.float32) ** 9,
        "shift": rng.normal(size=(1, 600)).astype(np.float32),
        "axes": np.array([2, 3]),
    }
    nodes = [
        helper.make_node("ReduceMean", [INPUT, "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "large"], ["wide"]),
        helper.make_node("Add", ["wide", "shift"], ["shifted"]),
        helper.make_node("Softmax", ["shifted"], ["share"]),
        helper.make_node("MatMul", ["share", "shares"], ["first"]),
        helper.make_node("MatMul", ["shifted", "small"], ["second"]),
        helper.make_node("Concat", ["first", "second"], ["made"], axis=1),
    ]
    source = write(tmp_path / "float.onnx", nodes, weights, "made")
    compact(source, tmp_path / "small.onnx", None)
    kinds = {name: value.dtype.name for name, value in stored(tmp_path / "small.onnx").items()}
    assert kinds["large_int8"] == "int8"
    assert (kinds["small_half"], kinds["shares_half"], kinds["shift"]) == ("float16", "float16", "float32")
    image = rng.normal(size=(2, 64, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "small.onnx", image), run(source, image), rtol=0.02, atol=0.15)
