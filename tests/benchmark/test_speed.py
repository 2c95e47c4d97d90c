"""Shapes and sense of the speed tables, on models and inputs of no size."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sct_hf import build_model, image_processor
from sct_hf.benchmark import speed_heads, speed_tagging, speed_transport
from sct_hf.benchmark.speed import SpeedArguments, speed
from sct_hf.benchmark.speed_pipeline import images_in
from sct_hf.errors import InputError
from sct_hf.model.transport_sct import cosine_similarity

TINY: dict[str, Any] = {
    "device": "cpu",
    "rounds": 2,
    "settings": ["test_resnet:32:3"],
    "heads": ["sct_lean", "csra"],
    "batch_sizes": [2],
    "lean_hidden_size": 16,
    "lean_ffn_dim": 16,
    "metrics_images": 60,
    "metrics_labels": 3,
}


def test_heads(tmp_path: Path) -> None:
    rows = speed(SpeedArguments(output_dir=str(tmp_path), parts=["heads"], **TINY))["heads"]
    by_head = {row["head"]: row for row in rows}
    assert list(by_head) == ["sct_lean", "csra", "linear"]  # the reference is always measured
    for row in rows:
        assert (row["backbone"], row["pixels"], row["labels"], row["batch_size"]) == ("test_resnet", 32, 3, 2)
        for part in speed_heads.PARTS:
            assert 0 < row[f"{part}_q1_ms"] <= row[f"{part}_ms"] <= row[f"{part}_q3_ms"]
            assert row[f"{part}_peak_MB"] > 0
        assert row["share_forward"] > 0
        assert row["rounds"] == 2
    assert all(by_head["linear"][f"{part}_ratio"] == 1 for part in speed_heads.PARTS)
    # Weights of a linear classifier and of csra's, worked by hand: C·D₀ with and without a bias.
    width = by_head["csra"]["head_parameters"] // 3
    assert by_head["linear"]["head_parameters"] == 3 * width + 3
    # A step of the model keeps at least a gradient for every weight; linear's inference on maps holds next to nothing.
    assert by_head["sct_lean"]["model_step_peak_MB"] > 4e-6 * by_head["sct_lean"]["parameters"]
    assert by_head["linear"]["head_forward_peak_MB"] < by_head["sct_lean"]["head_forward_peak_MB"]
    written = pd.read_parquet(tmp_path / "heads.parquet")
    assert written.to_dict("records") == rows
    text = (tmp_path / "heads.md").read_text()
    assert text.count("\n| test_resnet") == 3
    assert "_q1_ms" not in text
    assert Image.open(tmp_path / "speed.png").size[0] > 100


def test_all_models_share_a_backbone_and_weights_stay() -> None:
    setting = speed_heads.Setting("test_resnet", 32, 3)
    models = speed_heads._models(setting, ["linear", "sct_lean"], {"hidden_size": 16}, torch.device("cpu"))
    assert models["linear"].backbone.timm_model is models["sct_lean"].backbone.timm_model
    assert models["sct_lean"].sct.hidden_size == 16
    bench = speed_heads._Bench(models["sct_lean"], setting, speed_heads.Condition("cpu", "bfloat16", "eager", 2))
    weights = {name: weight.clone() for name, weight in models["sct_lean"].named_parameters()}
    for case in bench.cases().values():
        case.prepare()
        case.run()
    for name, weight in models["sct_lean"].named_parameters():
        assert weight.grad is None
        assert torch.equal(weight, weights[name])


def test_metrics_agree_and_are_timed(tmp_path: Path) -> None:
    rows = speed(SpeedArguments(output_dir=str(tmp_path), parts=["metrics"], **TINY))["metrics"]
    assert len(rows) == 5
    np.testing.assert_allclose([row["value"] for row in rows], rows[0]["value"], rtol=1e-5)
    assert all(row["time_ms"] > 0 and math.isfinite(row["time_ratio"]) for row in rows)
    assert not (tmp_path / "speed.png").exists()  # nothing to draw


def test_transport(tmp_path: Path) -> None:
    pytest.importorskip("ot.batch", reason="POT is not installed: pip install 'sct_hf[benchmark]'")
    pytest.importorskip("geomloss.ot", reason="GeomLoss is not installed: pip install 'sct_hf[benchmark]'")
    options = TINY | {"label_counts": [6], "rounds": 1}
    rows = speed(SpeedArguments(output_dir=str(tmp_path), parts=["transport"], **options))["transport"]
    assert [row["labels"] for row in rows] == [6] * 5
    for row in rows:
        assert row["peak_MB"] == pytest.approx(row["labels"] * row["peak_MB_per_label"])
        assert row["forward_backward_ms"] > 0
    ours, cost = rows[0], rows[1]
    assert (ours["loss"], ours["forward_backward_ratio"]) == (speed_transport.REFERENCE, 1)
    assert cost["loss"] == speed_transport.COST
    assert ours["peak_MB"] > cost["peak_MB"]
    assert ours["given_cost_ratio"] == 1
    for row in rows:  # of one round
        assert row["given_cost_ratio"] == pytest.approx(row["given_cost_ms"] / ours["given_cost_ms"])


def test_the_sinkhorn_losses_solve_the_same_problem() -> None:
    """Against entropic transport worked out here, in float64, by the fixed point of its scaling vectors."""
    pytest.importorskip("ot.batch", reason="POT is not installed: pip install 'sct_hf[benchmark]'")
    pytest.importorskip("geomloss.ot", reason="GeomLoss is not installed: pip install 'sct_hf[benchmark]'")
    generator = torch.Generator().manual_seed(0)
    regions, labels = (torch.randn(1, count, 8, generator=generator) for count in (7, 5))
    cost = 1 - torch.nn.functional.cosine_similarity(regions[0, :, None].double(), labels[0, None].double(), dim=-1)
    kernel, left, right = (-cost / speed_transport.TEMPERATURE).exp().numpy(), np.ones(7), np.ones(5)
    for _ in range(2000):
        left = 1 / 7 / (kernel @ right)
        right = 1 / 5 / (kernel.T @ left)
    plan = left[:, None] * kernel * right[None]
    moved, spread = (plan * cost.numpy()).sum(), (plan * np.log(plan)).sum()
    similarity = cosine_similarity(regions, labels)
    found = {name: float(loss(similarity)) for name, loss in speed_transport.losses().items()}
    temperature = speed_transport.TEMPERATURE
    # POT subtracts the plan's entropy, GeomLoss adds the plan's divergence from uniform weights.
    assert found["POT, autodiff"] == pytest.approx(moved + temperature * spread, abs=2e-3)
    assert found["POT, envelope"] == pytest.approx(found["POT, autodiff"], abs=1e-6)
    assert found["GeomLoss"] == pytest.approx(moved + temperature * (spread + math.log(35)), abs=2e-3)


def test_pipeline(tmp_path: Path) -> None:
    for number in range(9):
        Image.new("RGB", (50, 40), (9 * number, 50, 90)).save(tmp_path / f"{number}.jpg")
    options = TINY | {"pipeline_backbone": "test_resnet", "pipeline_pixels": 32, "pipeline_batch_size": 4}
    options |= {"workers": [1], "pipeline_images": 8, "pipeline_heads": ["sct"]}
    arguments = SpeedArguments(output_dir=str(tmp_path / "out"), parts=["pipeline"], images=str(tmp_path), **options)
    rows = speed(arguments)["pipeline"]
    assert [(row["workers"], row["images"]) for row in rows] == [(1, 8)]
    assert rows[0]["ratio_to_decode"] == pytest.approx(rows[0]["loader_images_per_s"] / rows[0]["decode_images_per_s"])
    assert 0 < rows[0]["sct_wait_share"] < 1
    assert rows[0]["sct_images_per_s"] > 0


def test_tagging_tags_every_image_in_turns_with_the_floor(tmp_path: Path, monkeypatch) -> None:
    for number in range(9):
        Image.new("RGB", (50, 40), (9 * number, 50, 90)).save(tmp_path / f"{number}.jpg")
    model = build_model("test_resnet", ["dog", "cat"], image_size=32, head="csra")
    model.save_pretrained(tmp_path / "model")
    image_processor(model.config).save_pretrained(tmp_path / "model")
    monkeypatch.setattr(speed_tagging, "_ROUND", 4)
    arguments = SpeedArguments(
        **TINY | {"parts": ["tagging"], "engines": ["torch"], "tagging_batch_size": 2},
        output_dir=str(tmp_path / "out"),
        images=str(tmp_path),
        model=str(tmp_path / "model"),
    )
    floor, torch_row = speed(arguments)["tagging"]
    assert [row["tagging"] for row in (floor, torch_row)] == ["floor", "torch"]
    assert [row["images"] for row in (floor, torch_row)] == [9, 9]
    assert (floor["ratio_to_floor"], floor["cpu_ratio_to_floor"]) == (1, 1)
    assert torch_row["images_per_s"] > 0
    assert "ratio_to_floor" in (tmp_path / "out" / "tagging.md").read_text()


def test_images_are_spread_over_the_folder(tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
    assert images_in(tmp_path, 4).image_ids == ["0", "3", "6", "9"]
    assert len(images_in(tmp_path, 9)) == 9  # not every second
    assert len(images_in(tmp_path, 100)) == 10
    with pytest.raises(InputError, match=r"images is .*none': give a folder with images"):
        images_in(tmp_path / "none", 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ["heads", "tails"]}, "parts has 'tails': choose from heads"),
        ({"parts": ["pipeline"]}, "images is missing"),
        ({"heads": ["none"]}, "heads has 'none'"),
        ({"rounds": 0}, "rounds is 0: give a number > 0"),
        ({"batch_sizes": [4, 0]}, r"batch_sizes is \[4, 0\]: give a number > 0"),
        ({"workers": [-1]}, r"workers is \[-1\]: give a number >= 0"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpeedArguments(**options)


@pytest.mark.parametrize("text", ["resnet101", "resnet101:448", "resnet101:448:0", ":4:4", "resnet101:a:2"])
def test_bad_settings(text: str) -> None:
    with pytest.raises(InputError, match="give backbone:pixels:labels"):
        speed_heads.Setting.parse(text)


def test_bad_device(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device is 'nowhere'"):
        speed(SpeedArguments(output_dir=str(tmp_path), device="nowhere"))
