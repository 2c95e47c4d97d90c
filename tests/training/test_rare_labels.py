"""Runs that weigh, shift or repeat by how often a label occurs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sct_hf.objectives.supervised import Supervised
from sct_hf.training import run
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train
from sct_hf.training.run_data import load_run_data

Tiny = Callable[..., Arguments]
PLAIN = {"augment": "none"}


def label_settings(training: run.Run) -> dict[str, torch.Tensor]:
    """Arguments of the loss that differ between labels."""
    (part,) = (part for part in training.objective.parts if isinstance(part, Supervised))
    return {name: value for name, value in part.focus({}).items() if value.ndim}


@pytest.mark.parametrize("head", ["sct", "linear"])
def test_losses_of_each_label(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    """They come from the images trained on, reach the loss, and stay out of the checkpoint."""
    seen: list[dict[str, torch.Tensor]] = []
    fit = run.Run.fit
    monkeypatch.setattr(run.Run, "fit", lambda self: seen.append(label_settings(self)) or fit(self))
    options: dict[str, Any] = {"head": head, "epochs": 1, **PLAIN}
    train(tiny(output_dir=tmp_path / "plain", **options))
    balance = {"positive_weights": "auto", "logit_adjustment": 1, "label_gammas": "auto", "frequency_groups": "5,9"}
    arguments = tiny(output_dir=tmp_path / "balanced", **options, **balance)
    metrics = train(arguments)
    targets = load_run_data(arguments.data, 0).training.targets()
    positives, negatives = (targets == 1).sum(0), (targets == 0).sum(0)
    assert seen[0] == {}
    assert seen[1].keys() == {"positive_weight", "logit_shift", "gamma_neg"}
    assert seen[1]["positive_weight"].tolist() == pytest.approx(negatives / positives)
    assert seen[1]["logit_shift"].tolist() == pytest.approx(np.log(positives / negatives))
    losses = [json.loads((tmp_path / name / "history.json").read_text())[0]["loss"] for name in ("plain", "balanced")]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    for name in ("plain", "balanced"):
        assert "positive_weight" not in (tmp_path / name / "config.json").read_text()

    table = pd.read_csv(tmp_path / "balanced" / "per_label.csv")
    assert table["train_positives"].tolist() == positives.tolist()
    for group in ("rare", "common", "frequent"):
        of_group = table.loc[table["group"] == group, "AP"]
        assert metrics[f"labels_{group}"] == len(of_group)
        assert metrics[f"mAP_{group}"] == (pytest.approx(of_group.mean()) if len(of_group) else None)
    plain = pd.read_csv(tmp_path / "plain" / "per_label.csv")
    assert list(plain) == ["label", "positives", "AP", "precision", "recall", "F1"]


@pytest.mark.parametrize("unknown_labels", ["ignore", "negative", "recover"])
def test_counts_are_of_what_the_loss_sees(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, unknown_labels: str
) -> None:
    """Without one label known to be absent, recovery takes unknown ones as absent too."""
    seen: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(run.Run, "fit", lambda self: seen.append(label_settings(self)))
    only_present = unknown_labels == "recover"
    options: dict[str, Any] = {"unknown_labels": unknown_labels, "head": "linear"}
    options |= {"single_positive": True} if only_present else {"known_proportion": 0.5}
    arguments = tiny(output_dir=tmp_path / "run", positive_weights="auto", **options)
    train(arguments)
    targets = load_run_data(arguments.data, 0).training.targets()
    assert (targets == -1).any()
    absent = targets == 0 if unknown_labels == "ignore" else targets <= 0
    assert seen[0]["positive_weight"].tolist() == pytest.approx(absent.sum(0) / (targets == 1).sum(0))


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
    options |= {"freeze_backbone": True, "cache_features": True, "cache_dir": tmp_path / "cache"}
    arguments = tiny(output_dir=tmp_path / "run", head="linear", **options)
    train(arguments)
    assert len(shown) == 30 * (30 // 4)
    targets = load_run_data(arguments.data, 0).training.targets()
    times = np.bincount(np.concatenate(shown), minlength=30)
    rarest = targets[:, targets.sum(0).argmin()] == 1
    assert times[rarest].mean() > 1.1 * times[~rarest].mean()
