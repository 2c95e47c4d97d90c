"""Whole runs, each a second or two long."""

import hashlib
import json
import math
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from sct_hf.errors import InputError
from sct_hf.training import checkpoints, report, run
from sct_hf.training.arguments import Arguments
from sct_hf.training.devices import make_accelerator
from sct_hf.training.loop import train
from sct_hf.training.models import new_model, set_train_mode
from sct_hf.training.run_data import load_run_data

Tiny = Callable[..., Arguments]
PLAIN = {"flip": False, "cutout": False, "rand_augment": False}
RESULTS = {
    *("config.json", "model.safetensors", "preprocessor_config.json", "training_args.json", "history.json"),
    *("metrics.json", "per_label.csv", "predictions.parquet", "curves.png", "tags.png"),
}


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "training_curves", lambda *args, **kwargs: None)
    monkeypatch.setattr(report, "tag_sheet", lambda *args, **kwargs: None)


def test_a_run_leaves_a_checkpoint_and_its_report(tmp_path: Path, tiny: Tiny, table: Path) -> None:
    folder = tmp_path / "run"
    metrics = train(tiny(output_dir=folder, compare_head="linear", report_to="tensorboard", log_every=1))
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
        parts = row["losses/classification"] + 0.8 * row["losses/semantic"] + 0.1 * row["losses/transport"]
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


@pytest.mark.usefixtures("no_figures")
def test_a_head_with_label_text_beside_sct(tmp_path: Path, tiny: Tiny) -> None:
    options = {"head_kwargs": '{"hidden_size": 8}', "transport_loss_weight": 0.6, "seed": 3}
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
    assert model.config.label_text["encoder"] == "random"


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("head", ["sct", "linear"])
def test_losses_of_each_label(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    """They come from the images trained on, reach the loss, and stay out of the checkpoint."""
    seen: list[dict[str, list[float]]] = []
    fit = run.Run.fit
    monkeypatch.setattr(run.Run, "fit", lambda self: seen.append(self.bare.config.label_losses) or fit(self))
    options: dict[str, Any] = {"head": head, "epochs": 1, **PLAIN}
    train(tiny(output_dir=tmp_path / "plain", **options))
    balance = {"positive_weights": "auto", "logit_adjustment": 1, "label_gammas": "auto", "frequency_groups": "5,9"}
    arguments = tiny(output_dir=tmp_path / "balanced", **options, **balance)
    metrics = train(arguments)
    targets = load_run_data(arguments.data, 0).training.targets()
    positives, negatives = (targets == 1).sum(0), (targets == 0).sum(0)
    assert seen[0] is None
    assert seen[1]["positive_weight"] == pytest.approx(negatives / positives)
    assert seen[1]["logit_shift"] == pytest.approx(np.log(positives / negatives))
    losses = [json.loads((tmp_path / name / "history.json").read_text())[0]["loss"] for name in ("plain", "balanced")]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    for name in ("plain", "balanced"):
        assert json.loads((tmp_path / name / "config.json").read_text())["label_losses"] is None

    table = pd.read_csv(tmp_path / "balanced" / "per_label.csv")
    assert table["train_positives"].tolist() == positives.tolist()
    for group in ("rare", "common", "frequent"):
        of_group = table.loc[table["group"] == group, "AP"]
        assert metrics[f"labels_{group}"] == len(of_group)
        assert metrics[f"mAP_{group}"] == (pytest.approx(of_group.mean()) if len(of_group) else None)
    plain = pd.read_csv(tmp_path / "plain" / "per_label.csv")
    assert list(plain) == ["label", "positives", "AP", "precision", "recall", "F1"]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("unknown_labels", ["ignore", "negative", "recover"])
def test_counts_are_of_what_the_loss_sees(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, unknown_labels: str
) -> None:
    """Without one label known to be absent, recovery takes unknown ones as absent too."""
    seen: list[dict[str, list[float]]] = []
    monkeypatch.setattr(run.Run, "fit", lambda self: seen.append(self.bare.config.label_losses))
    only_present = unknown_labels == "recover"
    options: dict[str, Any] = {"unknown_labels": unknown_labels, "head": "linear"}
    options |= {"single_positive": True} if only_present else {"known_proportion": 0.5}
    arguments = tiny(output_dir=tmp_path / "run", positive_weights="auto", **options)
    train(arguments)
    targets = load_run_data(arguments.data, 0).training.targets()
    assert (targets == -1).any()
    absent = targets == 0 if unknown_labels == "ignore" else targets <= 0
    assert seen[0]["positive_weight"] == pytest.approx(absent.sum(0) / (targets == 1).sum(0))


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("resampling", ["repeat_factor", "class_aware"])
def test_epochs_of_resampled_images(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, resampling: str
) -> None:
    """Steps stay those of plain epochs; images of the rarest label are shown more often than others."""
    shown: list[list[int]] = []
    step = run.Run._step

    def noted(self: run.Run, batch: dict[str, torch.Tensor], share: float, count: int) -> None:
        shown.append(batch["index"].tolist())
        step(self, batch, share, count)

    monkeypatch.setattr(run.Run, "_step", noted)
    options: dict[str, Any] = {"resampling": resampling, "repeat_threshold": 1, "epochs": 30, "holdout": 0}
    arguments = tiny(output_dir=tmp_path / "run", head="linear", **options)
    train(arguments)
    assert len(shown) == 30 * (30 // 4)
    targets = load_run_data(arguments.data, 0).training.targets()
    times = np.bincount(np.concatenate(shown), minlength=30)
    rarest = targets[:, targets.sum(0).argmin()] == 1
    assert times[rarest].mean() > 1.1 * times[~rarest].mean()


@pytest.mark.usefixtures("no_figures")
def test_a_stratified_held_out_part(tmp_path: Path, tiny: Tiny) -> None:
    pytest.importorskip("iterstrat", reason="iterative-stratification is absent: pip install sct_hf[stratified]")
    run_data = load_run_data(tiny(holdout_stratified=True, holdout=0.34).data, 0)
    assert run_data.held_out is not None
    whole, part = ((images.targets() == 1).sum(0) for images in (run_data.whole, run_data.held_out))
    assert np.abs(part - 0.34 * whole).max() <= 1.5
    assert sorted(run_data.training.image_ids + run_data.held_out.image_ids) == sorted(run_data.whole.image_ids)


@pytest.mark.usefixtures("no_figures")
def test_frozen_backbone_with_and_without_cache(tmp_path: Path, tiny: Tiny) -> None:
    frozen = {"freeze_backbone": True, "cached_views": 1, "cache_dir": tmp_path / "cache", "compare_head": "linear"}
    frozen |= PLAIN
    cached = train(tiny(output_dir=tmp_path / "cached", cache_features=True, **frozen))
    direct = train(tiny(output_dir=tmp_path / "direct", **frozen))
    for name in ("", "linear"):
        weights, same = (load_file(tmp_path / mode / name / "model.safetensors") for mode in ("cached", "direct"))
        for key, value in weights.items():
            if "backbone" in key:
                assert torch.equal(value, same[key])
            torch.testing.assert_close(value, same[key], rtol=0.05, atol=2e-3)
    assert cached["num_images"] == direct["num_images"]
    # The second head and the held-out part are served by the maps of the two splits.
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_the_held_out_part_scored_in_place_of_an_evaluation_split(tmp_path: Path, tiny: Tiny) -> None:
    """30 images are split 24 : 6; the evaluation split is not even read."""
    options: dict[str, Any] = {"freeze_backbone": True, "cache_features": True, "cache_dir": tmp_path / "cache"}
    options |= {"head": "linear", "eval_split": "held_out", "figures": False}
    selected = train(tiny(output_dir=tmp_path / "selected", **options | {"eval_split": "test"}))
    judged = train(tiny(output_dir=tmp_path / "judged", eval_file="absent.jsonl", **options))
    assert (judged["split"], judged["num_images"], selected["num_images"]) == ("train[holdout]", 6, 11)
    assert (judged["selected_epoch"], judged["holdout_mAP"]) == (2, None)
    assert not {"curves.png", "tags.png"} & {path.name for path in (tmp_path / "judged").iterdir()}
    # The same training, so that the last epoch's held-out score of the other run is the score of this one.
    history = json.loads((tmp_path / "selected" / "history.json").read_text())
    assert judged["mAP"] == pytest.approx(history[-1]["holdout_mAP"], abs=1e-6)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2  # of train and of test
    with pytest.raises(InputError, match="eval_split is 'held_out': it needs --holdout above 0"):
        tiny(**options, holdout=0)


def test_parts_of_a_split_that_runs_share(tmp_path: Path, tiny: Tiny) -> None:
    def parts(**options: Any) -> tuple[set[str], set[str], int]:
        run_data = load_run_data(tiny(eval_split="held_out", **options).data, options.get("seed", 0))
        training, judged = set(run_data.training.image_ids), set(run_data.evaluation.image_ids)
        assert not training & judged
        return training, judged, len(run_data.whole)

    drawn = {"max_train_samples": 10, "draw_from_rest": True, "holdout_seed": 3}
    (one, judged, whole), (other, same, _) = (parts(**drawn, seed=seed) for seed in (0, 1))
    assert (len(one), len(other), len(judged), whole) == (10, 10, 6, 30)
    assert one != other
    assert judged == same
    assert judged != parts(**drawn | {"holdout_seed": 4})[1]
    assert len(parts(max_train_samples=10)[0]) == 8  # without it the part is held out of those that are drawn
    assert parts(seed=5)[1] == parts(holdout_seed=5)[1]


@pytest.mark.usefixtures("no_figures")
def test_backbone_learns_unless_frozen(tmp_path: Path, tiny: Tiny) -> None:
    options = {"head": "linear", "epochs": 1, "holdout": 0, "ema_decay": 0}
    train(tiny(output_dir=tmp_path / "free", **options))
    train(tiny(output_dir=tmp_path / "norm", freeze_batch_norm=True, **options))
    train(tiny(output_dir=tmp_path / "frozen", freeze_backbone=True, **options))
    free, norm, frozen = (load_file(tmp_path / name / "model.safetensors") for name in ("free", "norm", "frozen"))
    statistics = [name for name in free if name.endswith("running_mean")]
    filters = [name for name in free if name.endswith("conv1.weight")]
    assert statistics
    assert filters
    for name in statistics:
        assert not torch.equal(free[name], frozen[name])
        assert torch.equal(norm[name], frozen[name])
    for name in filters:
        assert not torch.equal(free[name], frozen[name])
        assert not torch.equal(norm[name], frozen[name])


@pytest.mark.usefixtures("no_figures")
def test_first_stages_stay_as_they_are(tmp_path: Path, tiny: Tiny) -> None:
    options = {"head": "linear", "epochs": 1, "holdout": 0, "ema_decay": 0}
    train(tiny(output_dir=tmp_path / "run", freeze_stages=2, **options))
    torch.manual_seed(0)
    start = new_model(tiny(head="linear"), ["red", "green", "blue", "white"], Accelerator(cpu=True)).state_dict()
    found = load_file(tmp_path / "run" / "model.safetensors")
    stem = ("backbone.timm_model.conv1.", "backbone.timm_model.bn1.", "backbone.timm_model.layer1.")
    for name, tensor in found.items():
        if name.endswith(("weight", "running_mean")) and "backbone" in name:
            assert torch.equal(tensor, start[name]) == name.startswith(stem), name
    with pytest.raises(InputError, match=r"freeze_stages is 5, but test_resnet has 5 stages: give fewer"):
        train(tiny(output_dir=tmp_path / "all", freeze_stages=5, **options))


def test_a_run_goes_out_from_the_weights_of_another(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny(output_dir=tmp_path / "first", epochs=1))
    arguments = tiny(init_checkpoint=tmp_path / "first", seed=1)
    model = new_model(
        arguments, ["blue", "green", "red", "white"], make_accelerator(mixed_precision="no", cpu_threads=1, seed=1)
    )
    written = load_file(tmp_path / "first" / "model.safetensors")
    assert model.state_dict().keys() == written.keys()
    assert all(torch.equal(value, written[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "linear"}, "does not fit this run: model_type is 'sct' there and 'sct_peer' here"),
        ({"encoder_ffn_dim": 8}, r"ffn_in.bias is \[16\] there and \[8\] here"),
        ({"encoder_attention_heads": 4}, "encoder_attention_heads is 2 there and 4 here"),
        ({"init_checkpoint": "no/such/folder"}, "init_checkpoint is 'no/such/folder': there is no such folder"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, tiny: Tiny, options: dict[str, Any], message: str) -> None:
    train(tiny(output_dir=tmp_path / "first", epochs=1))
    with pytest.raises(InputError, match=message):
        train(tiny(**{"output_dir": tmp_path / "second", "init_checkpoint": tmp_path / "first", **options}))


def test_the_checkpoint_to_go_out_from_is_not_written_over(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny(output_dir=tmp_path / "first", epochs=1))
    for folder in (tmp_path / "first", tmp_path):
        with pytest.raises(InputError, match="it holds init_checkpoint; choose another folder"):
            tiny(output_dir=folder, init_checkpoint=tmp_path / "first", overwrite_output_dir=True)


def test_checkpoint_with_weights_missing(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny(output_dir=tmp_path / "first", epochs=1))
    path = tmp_path / "first" / "model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if "scorer" not in name}, path, {"format": "pt"})
    missing = r"init_checkpoint is .*first', which lacks \d+ of its weights \(pooled_scorer"
    with pytest.raises(InputError, match=missing):
        train(tiny(output_dir=tmp_path / "second", init_checkpoint=tmp_path / "first"))


@pytest.mark.usefixtures("no_figures")
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


def test_training_mode_of_frozen_parts(tiny: Tiny) -> None:
    model = run.new_model(tiny(), ["a", "b"], run.Accelerator())
    norms = [module for module in model.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for frozen, frozen_norms in ((False, False), (True, False), (False, True)):
        model.eval()
        set_train_mode(model, model, frozen, frozen_norms)
        assert model.training
        assert model.backbone.training is not frozen
        assert {norm.training for norm in norms} == {not (frozen or frozen_norms)}


@pytest.mark.usefixtures("no_figures")
def test_the_best_epoch_is_selected_and_scored(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    qualities, kept = iter([0.5, 0.7, 0.6]), []
    compute = run.multilabel_metrics

    def held_out_quality(scores: Any, targets: Any, **options: Any) -> dict[str, Any]:
        if options:
            return compute(scores, targets, **options)
        return {"mAP": next(qualities)}

    monkeypatch.setattr(run, "multilabel_metrics", held_out_quality)
    save = run.save_checkpoint

    def save_and_keep(folder: Path, state: Any, accelerator: Any, average: Any, *, keep: int) -> None:
        kept.append({name: value.clone() for name, value in average.state_dict().items()})
        save(folder, state, accelerator, average, keep=keep)

    monkeypatch.setattr(run, "save_checkpoint", save_and_keep)
    metrics = train(tiny(output_dir=tmp_path, epochs=3))
    assert (metrics["selected_epoch"], metrics["holdout_mAP"]) == (2, 0.7)
    final = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(final[name], kept[1][name]) for name in final)
    assert not all(torch.equal(final[name], kept[2][name]) for name in final)


@pytest.mark.usefixtures("no_figures")
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


@pytest.mark.usefixtures("no_figures")
def test_finished_run_is_not_trained_again(tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = train(tiny(output_dir=tmp_path, epochs=1))
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert train(tiny(output_dir=tmp_path, epochs=1, resume=True)) == metrics
    assert "it is finished: nothing is left to do" in capsys.readouterr().out
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


def test_loss_that_is_not_finite(tmp_path: Path, tiny: Tiny) -> None:
    arguments = tiny(output_dir=tmp_path, learning_rate=1e30, checkpoint_every=1)
    with pytest.raises(InputError, match=r"is not finite at step \d+, epoch 1 \(.*semantic") as caught:
        train(arguments)
    newest = checkpoints.newest_checkpoint(tmp_path)
    assert newest is not None
    assert f"the last good checkpoint is {newest}" in str(caught.value)
    for file in newest.glob("*.safetensors"):
        assert all(value.isfinite().all() for value in load_file(file).values())


def test_gradient_that_is_not_finite(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    make = run.new_model

    def with_infinite_gradient(*arguments: Any) -> Any:
        model = make(*arguments)
        next(model.scorer.parameters()).register_hook(lambda gradient: gradient * math.inf)
        return model

    monkeypatch.setattr(run, "new_model", with_infinite_gradient)
    with pytest.raises(InputError, match=r"the gradient is not finite at step 1, .* there is no checkpoint yet"):
        train(tiny(output_dir=tmp_path))


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("megabytes", [1, 2])
def test_disk_that_fills_while_saving(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    """The kernel refuses to let a file grow on: 1 MB stops the weights, 2 MB the optimizer's state."""
    options = {"output_dir": tmp_path / "run", "checkpoint_every": 2}
    save, limits = run.save_checkpoint, resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_on_a_full_disk(folder: Path, state: Any, *rest: Any, **named: Any) -> None:
        if state.step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 10**6, limits[1]))
        save(folder, state, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(run, "save_checkpoint", save_on_a_full_disk)
        try:
            with pytest.raises(InputError, match=r"saving there failed .* checkpoint-00000002 is whole"):
                train(tiny(**options))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    left = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert left == ["checkpoint-00000002", "labels.png", "training_args.json"]
    sizes = {file.name: file.stat().st_size / 1e6 for file in (tmp_path / "run" / left[0]).iterdir()}
    assert 1 < sizes["model.safetensors"] < 2 < sizes["optimizer.bin"]

    resumed = train(tiny(**options, resume=True))
    whole = train(tiny(output_dir=tmp_path / "whole"))
    assert {**resumed, "train_seconds": 0} == {**whole, "train_seconds": 0}


def test_batch_size_for_the_processes(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.Accelerator, "num_processes", 3)
    with pytest.raises(InputError, match="batch_size is 4, for 3 processes"):
        train(tiny(output_dir=tmp_path))


def test_number_format_that_the_device_does_not_know(tmp_path: Path, tiny: Tiny) -> None:
    if torch.cuda.is_available():
        pytest.skip("this device knows fp16")
    with pytest.raises(InputError, match="mixed_precision is 'fp16'"):
        train(tiny(output_dir=tmp_path, mixed_precision="fp16"))
