"""Exported files, opened by the libraries themselves, against the model loaded from the checkpoint."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import expit
from torch import Tensor
from transformers import AutoModelForImageClassification

from sct_hf.data import eval_transform
from sct_hf.export.checkpoint import file_size
from sct_hf.export.formats import exported_files
from tests.export.tiny import CALIBRATION, LABELS, PROFILES, RUNTIME_FILES, SCRIPT, THRESHOLDS

SHAPES = [(1, 64, 64), (4, 64, 64), (2, 96, 64), (1, 64, 160)]


def expected_of(checkpoint: Path, pixels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    model = AutoModelForImageClassification.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        out = model(pixels, output_maps=True)
    return out.logits.numpy(), out.transport_plan.numpy()


def run_onnx(path: Path, pixels: Tensor) -> list[np.ndarray]:
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    assert [value.name for value in session.get_inputs()] == ["pixel_values"]
    return session.run(None, {"pixel_values": pixels.numpy()})


def run_openvino(path: Path, pixels: Tensor) -> list[np.ndarray]:
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(value) for value in model({"pixel_values": pixels.numpy()}).to_tuple()]


def run_torch_export(path: Path, pixels: Tensor) -> list[np.ndarray]:
    return [value.detach().numpy() for value in torch.export.load(path).module()(pixel_values=pixels)]


def run_onnx_in_float(path: Path, pixels: Tensor) -> list[np.ndarray]:
    """Without fused int8 kernels: what is rounded to bytes is taken back to float before it is multiplied."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options).run(None, {"pixel_values": pixels.numpy()})


def run_openvino_in_float(path: Path, pixels: Tensor) -> list[np.ndarray]:
    """With weights taken back from bytes to float beforehand, so that no int8 kernel fits."""
    openvino, passes = pytest.importorskip("openvino"), pytest.importorskip("openvino.passes")
    model, manager = openvino.Core().read_model(path), passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
    constants = {op.get_element_type() for op in model.get_ops() if op.get_type_name() == "Constant"}
    assert openvino.Type.i8 not in constants
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(value) for value in compiled({"pixel_values": pixels.numpy()}).to_tuple()]


RUNS = {"model.onnx": run_onnx, "model.xml": run_openvino, "model.pt2": run_torch_export}
RUNS_IN_FLOAT = {"model_int8.onnx": run_onnx_in_float, "model_int8.xml": run_openvino_in_float}


@pytest.mark.parametrize("name", RUNS)
def test_float_files_compute_what_the_model_does(exported: Path, checkpoint: Path, name: str) -> None:
    for batch, height, width in SHAPES:
        pixels = torch.randn(batch, 3, height, width)
        logits, scores, plan = RUNS[name](exported / name, pixels)
        expected_logits, expected_plan = expected_of(checkpoint, pixels)
        expected_scores = expit(np.array(CALIBRATION["slope"]) * expected_logits + np.array(CALIBRATION["shift"]))
        wanted = (expected_logits, expected_scores, expected_plan)
        for found, expected in zip((logits, scores, plan), wanted, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
        np.testing.assert_allclose(plan.sum(1), 1, rtol=1e-5)


@pytest.fixture
def pixels(checkpoint: Path, images: Path) -> Tensor:
    """The images that the int8 files were calibrated on, and one more."""
    config = json.loads((checkpoint / "config.json").read_text())
    prepare = eval_transform(64, config["image_mean"], config["image_std"])
    return torch.stack([prepare(Image.open(path)) for path in sorted(images.iterdir())])


@pytest.mark.parametrize("name", RUNS_IN_FLOAT)
def test_int8_files_are_near_and_smaller(exported: Path, checkpoint: Path, pixels: Tensor, name: str) -> None:
    """What the files say; what a CPU makes of it is the next test's."""
    logits, *_ = RUNS_IN_FLOAT[name](exported / name, pixels)
    expected, _ = expected_of(checkpoint, pixels)
    assert 0 < np.abs(logits - expected).max() < 0.1
    assert file_size(exported / name) < file_size(exported / name.replace("_int8", ""))


@pytest.mark.parametrize("name", RUNS_IN_FLOAT)
def test_int8_kernels_are_near(exported: Path, checkpoint: Path, pixels: Tensor, name: str) -> None:
    logits, *_ = RUNS[name.replace("_int8", "")](exported / name, pixels)
    expected, _ = expected_of(checkpoint, pixels)
    assert 0 < np.abs(logits - expected).max() < 0.1


def int8_weights_of_onnx(path: Path) -> list[np.ndarray]:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(path).graph
    return [
        onnx.numpy_helper.to_array(value) for value in graph.initializer if value.data_type == onnx.TensorProto.INT8
    ]


def int8_weights_of_openvino(path: Path) -> list[np.ndarray]:
    openvino = pytest.importorskip("openvino")
    constants = [op for op in openvino.Core().read_model(path).get_ops() if op.get_type_name() == "Constant"]
    return [op.data for op in constants if op.get_element_type() == openvino.Type.i8]


@pytest.mark.parametrize(
    ("name", "weights"), [("model_int8.onnx", int8_weights_of_onnx), ("model_int8.xml", int8_weights_of_openvino)]
)
def test_two_products_of_int8_fit_16_bits(exported: Path, name: str, weights: Callable[[Path], list]) -> None:
    """So that CPUs without VNNI, which add two products of uint8 and int8 in 16 bits, compute what others do.

    Two products of at most 255 · 64 come to 32,640, of 32,767 that there is room for.
    """
    found = [values for values in weights(exported / name) if values.any()]  # others are zero points
    assert len(found) > 5
    for values in found:
        assert np.abs(values.astype(int)).max() <= 64
    assert max(int(values.max()) for values in found) > 60  # all of the range is used


def test_int8_keeps_what_is_no_layer_in_float(exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(exported / "model_int8.onnx").graph
    weights = {tensor.name for tensor in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}

    def restored(name: str) -> bool:
        return name in maker and maker[name].op_type == "DequantizeLinear"

    def quantised(node: object) -> bool:
        return all(map(restored, node.input[:2]))

    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 6
    assert [quantised(node) for node in convolutions] == [False] * 6 + [True] * (len(convolutions) - 6)
    products = [node for node in graph.node if node.op_type == "MatMul"]
    of_weights = [restored(node.input[1]) and maker[node.input[1]].input[0] in weights for node in products]
    assert [quantised(node) for node in products] == of_weights
    assert 0 < sum(of_weights) < len(products)  # attention, similarity and transport are products of activations
    for node in graph.node:
        if node.op_type in ("Softmax", "LayerNormalization", "Gelu"):
            assert not quantised(node)


def test_metadata(exported: Path, checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    content = json.loads((exported / "export.json").read_text())
    assert (content["labels"], content["thresholds"]) == (LABELS, THRESHOLDS)
    assert content["profiles"] == PROFILES
    assert content["input"] == {
        **{"name": "pixel_values", "dtype": "float32", "shape": ["batch", 3, "height", "width"]}
    }
    preparation = content["preprocessing"]
    assert (preparation["size"], preparation["resample"]) == ([64, 64], "bilinear")
    assert (preparation["mean"], preparation["std"]) == (config["image_mean"], config["image_std"])
    assert content["versions"]["torch"] == torch.__version__.split("+")[0]
    assert set(content["files"]) == set(exported_files(exported))
    for name, file in content["files"].items():
        kind = "int8 weights" if name == "browser" else "int8" if name.endswith("_int8") else "float32"
        assert file["precision"] == kind
        assert file["megabytes"] == file_size(exported / file["file"]) / 1e6
        map_name = "heatmap" if name == "browser" else "transport_plan"
        assert set(file["max_difference"]) == {"logits", "scores", map_name}
        assert all(
            0 <= difference <= (1e-4 if kind == "float32" else 0.1) for difference in file["max_difference"].values()
        )
        assert file.get("images", 5) == 5
    assert set(content["outputs"]) == {"logits", "scores", "transport_plan"}
    assert content["profile"] == "balanced"
    assert content["measured_on"]["cpu"]
    assert content["measured_on"]["vnni"] in (True, False, None)
    assert not list(exported.parent.glob(".*"))


def test_a_folder_for_browsers_has_all_that_its_page_names(exported: Path, checkpoint: Path, pixels: Tensor) -> None:
    named = set().union(
        *(
            re.findall(r'"(?:\./)?([\w/.-]+\.(?:m?js|css|svg|json))"', (exported / page).read_text())
            for page in ("index.html", "app.js", "tagger.js")
        )
    )
    assert {"app.js", "tagger.js", "heatmap.js", "style.css", "icon.svg", "export.json"} <= named
    assert {name for name in named if not (exported / name).is_file()} == set()
    assert {path.name for path in (exported / "runtime").iterdir()} == RUNTIME_FILES | {
        "LICENSE",
        "ThirdPartyNotices.txt",
    }
    assert "sdk: static" in (exported / "README.md").read_text()
    logits, scores, heatmaps = run_onnx(exported / "onnx" / "model_quantized.onnx", pixels)
    model = AutoModelForImageClassification.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        out = model(pixels, output_maps=True)
    np.testing.assert_allclose(logits, out.logits.numpy(), rtol=0, atol=0.05)
    np.testing.assert_allclose(heatmaps, out.heatmap.numpy(), rtol=0, atol=0.1)
    expected = expit(np.array(CALIBRATION["slope"]) * logits + np.array(CALIBRATION["shift"]))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_what_depends_on_no_image_is_computed_once(exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    for name in ("model.onnx", "model_int8.onnx"):
        graph = onnx.load(exported / name).graph
        seen = {graph.input[0].name}
        for node in graph.node:
            seen |= set(node.output) if seen & set(node.input) else set()
            rounding = node.op_type == "DequantizeLinear"  # of weights
            assert rounding or seen & set(node.input) or node.op_type == "Constant", node


def test_sizes_count_weights_beside_the_graph(exported: Path) -> None:
    pytest.importorskip("openvino")
    parts = [exported / name for name in ("model.xml", "model.bin")]
    assert file_size(exported / "model.xml") == sum(part.stat().st_size for part in parts)


def test_transformer_keeps_its_size(script: Callable[..., int], make_checkpoint, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    checkpoint = make_checkpoint("test_vit")
    assert script("--model", checkpoint, "--output_dir", tmp_path / "vit") == 0
    content = json.loads((tmp_path / "vit" / "export.json").read_text())
    assert content["input"]["shape"] == ["batch", 3, 64, 64]
    assert {path.name for path in (tmp_path / "vit").iterdir()} == {"model.onnx", "export.json", "run_onnx.py"}
    for batch in (1, 3):
        pixels = torch.randn(batch, 3, 64, 64)
        logits, _ = run_onnx(tmp_path / "vit" / "model.onnx", pixels)
        np.testing.assert_allclose(logits, expected_of(checkpoint, pixels)[0], rtol=0, atol=2e-5)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        run_onnx(tmp_path / "vit" / "model.onnx", torch.randn(1, 3, 96, 64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "any_size"),
    [
        ("swin_tiny_patch4_window7_224", False),
        ("test_efficientnet", True),
        ("tf_mobilenetv3_small_minimal_100", False),
    ],
)
def test_other_backbones(
    script: Callable[..., int], make_checkpoint, tmp_path: Path, backbone: str, any_size: bool
) -> None:
    checkpoint = make_checkpoint(backbone)
    assert script("--model", checkpoint, "--output_dir", tmp_path / "out") == 0
    content = json.loads((tmp_path / "out" / "export.json").read_text())
    assert content["input"]["shape"] == ["batch", 3, *(("height", "width") if any_size else (64, 64))]
    pixels = torch.randn(3, 3, 96, 128) if any_size else torch.randn(3, 3, 64, 64)
    logits, _ = run_onnx(tmp_path / "out" / "model.onnx", pixels)
    np.testing.assert_allclose(logits, expected_of(checkpoint, pixels)[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", [pytest.param("model.onnx", marks=pytest.mark.slow), "model.pt2"])
def test_two_levels_take_images_of_any_size(
    script: Callable[..., int], make_checkpoint, tmp_path: Path, name: str
) -> None:
    """Of odd sizes too, where the finer level does not have twice as many places as the other."""
    checkpoint = make_checkpoint("test_resnet", feature_levels=2)
    kind = {"model.onnx": "onnx", "model.pt2": "torch_export"}[name]
    assert script("--model", checkpoint, "--output_dir", tmp_path / "out", "--format", kind) == 0
    for size in ((64, 64), (96, 160), (70, 101)):
        pixels = torch.randn(2, 3, *size)
        logits, _ = RUNS[name](tmp_path / "out" / name, pixels)
        np.testing.assert_allclose(logits, expected_of(checkpoint, pixels)[0], rtol=0, atol=2e-5)


def test_peer_head_and_fixed_size_in_a_process(make_checkpoint, tmp_path: Path) -> None:
    checkpoint = make_checkpoint("test_resnet", head="linear")
    words = [f"--model={checkpoint}", f"--output_dir={tmp_path / 'out'}", "--format=torch_export", "--fixed_size"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], cwd=SCRIPT.parents[1], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "model.pt2" in done.stdout
    assert "input ['batch', 3, 64, 64]" in done.stdout
    pixels = torch.randn(2, 3, 64, 64)
    model = AutoModelForImageClassification.from_pretrained(checkpoint).eval()
    logits, _ = run_torch_export(tmp_path / "out" / "model.pt2", pixels)
    np.testing.assert_allclose(logits, model(pixels).logits.detach().numpy(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", RUNS)
def test_parents_are_raised_in_every_format(exported: Path, checkpoint: Path, name: str) -> None:
    model = AutoModelForImageClassification.from_pretrained(checkpoint).eval()
    pixels = torch.randn(9, 3, 64, 64)
    logits = RUNS[name](exported / name, pixels)[0]
    assert (logits[:, 0] == logits.max(axis=1)).all()
    model.hierarchy = None
    with torch.no_grad():
        flat = model(pixels).logits
    assert (flat[:, 0] < flat.amax(1)).any()  # so that there was something to raise
