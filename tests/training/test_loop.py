"""Whole runs, each a second or two long."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from sct_hf.training import run
from sct_hf.training.arguments import Arguments
from sct_hf.training.devices import make_accelerator
from sct_hf.training.loop import train
from sct_hf.training.models import new_model

Tiny = Callable[..., Arguments]
PLAIN = {"augment": "none"}
RESULTS = {
    *("config.json", "model.safetensors", "preprocessor_config.json", "training_args.json", "training_images.txt"),
    *("metrics.json", "per_label.csv", "predictions.parquet", "curves.png", "tags.png", "report.html", "history.json"),
}


def test_a_run_leaves_a_checkpoint_and_its_report(tmp_path: Path, tiny: Tiny, table: Path) -> None:
    folder = tmp_path / "run"
    metrics = train(tiny(output_dir=folder, compare_head="linear", report_to="tensorboard", log_every=1, figures=True))
    assert {path.name for path in folder.iterdir()} == RESULTS | {"linear", "logs", "labels.png"}
    assert {path.name for path in (folder / "linear").iterdir()} == RESULTS | {"logs"}
    assert list((folder / "logs").rglob("events*"))
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["comparison"]["linear"] == json.loads((folder / "linear" / "metrics.json").read_text())
    assert (metrics["head"], metrics["comparison"]["linear"]["head"]) == ("sct", "linear")
    assert (metrics["num_images"], metrics["train_images"]) == (11, 24)
    assert metrics["weights_sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert metrics["machine"].keys() == {"device", "processes", "threads"}

    history = json.loads((folder / "history.json").read_text())
    assert [(row["epoch"], row["step"]) for row in history] == [(1, 6), (2, 12)]
    best = max(row["holdout_mAP"] for row in history)
    assert metrics["holdout_mAP"] == best == history[metrics["selected_epoch"] - 1]["holdout_mAP"]
    for row in history:
        parts = row["losses/region"] + 0.8 * row["losses/map"] + 0.1 * row["losses/transport"]
        parts += row["losses/pooled"]
        assert row["loss"] == pytest.approx(parts, rel=1e-5)
        assert 0 < row["data_wait_share"] < 1

    # What the folder holds gives the scores in the report: image by image, by transformers' own means.
    processor = AutoImageProcessor.from_pretrained(folder)
    predictions = pd.read_parquet(folder / "predictions.parquet").set_index("image_id")
    for name in ("", "linear"):
        model = AutoModelForImageClassification.from_pretrained(folder / name).eval()
        scores = pd.read_parquet(folder / name / "predictions.parquet").filter(like="score/").to_numpy()
        for row, image_id in enumerate(predictions.index):
            image = Image.open(table / image_id) if "." in image_id else Image.open(table / f"{image_id}.png")
            with torch.no_grad():
                logits = model(**processor(image, return_tensors="pt")).logits
            np.testing.assert_allclose(logits.sigmoid()[0].numpy(), scores[row], atol=2e-3)
    tagged = pipeline("image-classification", model=str(folder))(Image.new("RGB", (50, 40)))
    assert {tag["label"] for tag in tagged} == {"red", "green", "blue", "white"}


def test_a_head_with_label_text_beside_sct(tmp_path: Path, tiny: Tiny) -> None:
    options = {"head_kwargs": {"hidden_size": 8}, "transport_loss_weight": 0.6, "seed": 3}
    train(tiny(output_dir=tmp_path / "run", compare_head="patchct", epochs=1, **options))
    folder = tmp_path / "run" / "patchct"
    for row in json.loads((folder / "history.json").read_text()):
        assert row["loss"] == pytest.approx(row["losses/head"] + 0.6 * row["losses/transport"], rel=1e-5)
    written = load_file(folder / "model.safetensors")
    text = load_file(tmp_path / "run" / "model.safetensors")["sct.label_embeddings"]
    assert torch.equal(written["label_embeddings"], text)
    assert written["head.label_proj.weight"].shape == (8, 8)
    arguments = tiny(head="patchct", init_checkpoint=folder, label_encoder="random:8", **options)
    model = new_model(
        arguments, ["blue", "green", "red", "white"], make_accelerator(mixed_precision="no", cpu_threads=1, seed=1)
    )
    assert all(torch.equal(value, written[name]) for name, value in model.state_dict().items())
    assert model.config.text_recipe["encoder"] == "random"


def test_figures_are_those_of_weights_saved_in_half_precision(tmp_path: Path, tiny: Tiny, table: Path) -> None:
    train(tiny(output_dir=tmp_path, epochs=1, save_dtype="float16"))
    saved = load_file(tmp_path / "model.safetensors")
    assert {value.dtype for value in saved.values() if value.ndim > 1} == {torch.float16}
    assert {value.dtype for value in saved.values() if value.ndim == 1} == {torch.float32}
    model = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert model.dtype == torch.float32
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved[name].to(value.dtype))
    predictions = pd.read_parquet(tmp_path / "predictions.parquet").set_index("image_id")
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    name = predictions.index[0]
    image = Image.open(table / (name if "." in name else f"{name}.png"))
    with torch.no_grad():
        scores = model(**processor(image, return_tensors="pt")).logits[0].sigmoid().numpy()
    np.testing.assert_allclose(scores, predictions.filter(like="score/").iloc[0], atol=1e-5)


def test_the_best_epoch_is_selected_and_scored(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    qualities, kept = iter([0.5, 0.7, 0.6]), []
    compute = run.multilabel_metrics

    def held_out_quality(scores: Any, targets: Any, **options: Any) -> dict[str, Any]:
        if options:
            return compute(scores, targets, **options)
        return {"mAP": next(qualities)}

    monkeypatch.setattr(run, "multilabel_metrics", held_out_quality)
    save = run.save_checkpoint

    def save_and_keep(folder: Path, state: Any, trained: Any, *, keep: int) -> None:
        kept.append({name: value.clone() for name, value in trained.average.state_dict().items()})
        save(folder, state, trained, keep=keep)

    monkeypatch.setattr(run, "save_checkpoint", save_and_keep)
    metrics = train(tiny(output_dir=tmp_path, epochs=3))
    assert (metrics["selected_epoch"], metrics["holdout_mAP"]) == (2, 0.7)
    final = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(final[name], kept[1][name]) for name in final)
    assert not all(torch.equal(final[name], kept[2][name]) for name in final)


@pytest.mark.parametrize(("large", "small"), [((15, 1), (3, 5)), ((30, 1), (6, 8))])
def test_accumulated_batches_are_one_batch(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, large: tuple[int, int], small: tuple[int, int]
) -> None:
    """5 batches of 3 take the step of one of 15; so do 5 of 6 that of one of 30, though 8 to a step are asked for."""
    clip, norms = run.Accelerator.clip_grad_norm_, []

    def clip_and_keep(self: Any, *arguments: Any) -> torch.Tensor:
        norms.append(clip(self, *arguments))
        return norms[-1]

    monkeypatch.setattr(run.Accelerator, "clip_grad_norm_", clip_and_keep)
    options = {"head": "linear", "freeze_backbone": True, "holdout": 0, "ema_decay": 0, **PLAIN}
    outcomes = []
    for batch_size, accumulation in (large, small):
        folder = tmp_path / str(batch_size)
        train(tiny(output_dir=folder, batch_size=batch_size, gradient_accumulation=accumulation, **options))
        outcomes.append((torch.stack(norms), load_file(folder / "model.safetensors")))
        norms.clear()
    (norms_large, weights_large), (norms_small, weights_small) = outcomes
    torch.testing.assert_close(norms_small, norms_large, rtol=1e-4, atol=0)
    for name, value in weights_large.items():
        torch.testing.assert_close(weights_small[name], value, rtol=1e-4, atol=1e-6)


def test_finished_run_is_not_trained_again(tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = train(tiny(output_dir=tmp_path, epochs=1))
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert train(tiny(output_dir=tmp_path, epochs=1, resume=True)) == metrics
    assert "which is finished: nothing to do" in capsys.readouterr().out
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before
