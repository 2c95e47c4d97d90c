"""Evaluation with a part of the labels known, and what training on label states asks for."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from sct_hf.data import ImageDataset, eval_transform, load_data
from sct_hf.data.masks import known_entries
from sct_hf.errors import InputError
from sct_hf.model.hierarchy_sct import make_hierarchy
from sct_hf.training import known_labels, report
from sct_hf.training.arguments import Arguments, EvaluationDataArguments, ScoringArguments
from sct_hf.training.loop import train
from sct_hf.training.parsing import parse_into
from sct_hf.training.scoring import score_checkpoint
from sct_hf.variants.known_labels import SCTWithKnownLabels


def score(*words: str, **options: Any) -> dict[str, Any]:
    given = [f"--{name}={value}" for name, value in options.items()]
    return score_checkpoint(*parse_into([*given, *words], ScoringArguments, EvaluationDataArguments))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Arguments]) -> Path:
    """A run with label states."""
    folder = tmp_path_factory.mktemp("run") / "states"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "training_curves", lambda *args, **kwargs: None)
        patch.setattr(report, "tag_sheet", lambda *args, **kwargs: None)
        train(tiny(output_dir=folder, epochs=1, head="sct_known_labels", known_share_max=0.5))
    return folder


@pytest.fixture
def data(table: Path) -> dict[str, Any]:
    return {"dataset": "jsonl", "data_dir": table, "eval_split": "test", "num_workers": 0, "cpu_threads": 1}


def mean_ap(scores: np.ndarray, targets: np.ndarray, judged: np.ndarray) -> float:
    """By scikit-learn, label by label."""
    values = []
    for label in range(targets.shape[1]):
        rows = judged[:, label]
        if targets[rows, label].any():
            values.append(average_precision_score(targets[rows, label], scores[rows, label]))
    return float(np.mean(values))


def test_figures_are_those_of_the_entries_left(
    run: Path, data: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    told: list[torch.Tensor] = []
    forward = SCTWithKnownLabels.forward

    def noted(self: Any, *args: Any, **inputs: Any) -> Any:
        if inputs.get("known") is not None:
            told.append(inputs["known"].clone())
        return forward(self, *args, **inputs)

    monkeypatch.setattr(SCTWithKnownLabels, "forward", noted)
    folder = tmp_path / "scores"
    metrics = score("--known_shares", "0.3", "0.7", model=run, output_dir=folder, batch_size=4, seed=5, **data)
    monkeypatch.undo()
    assert json.loads((folder / "metrics.json").read_text())["known_labels"] == metrics["known_labels"]

    images = load_data("jsonl", "test", data_dir=str(data["data_dir"]))
    model = SCTWithKnownLabels.from_pretrained(run)
    images = images.aligned_to(model.config.label_names)
    dataset = ImageDataset(images, eval_transform(32, model.config.image_mean, model.config.image_std))
    pixels = torch.stack([dataset[row]["pixel_values"] for row in range(len(images))])
    targets = images.targets()
    assert [len(part) for part in told] == [4, 4, 3] * 2  # for each share, the batches in order
    former = np.zeros(targets.shape, dtype=bool)
    for row, share in zip(metrics["known_labels"], (0.3, 0.7), strict=True):
        known_labels = torch.cat([told.pop(0) for _ in range(3)])
        known = known_labels.numpy() >= 0
        assert row["share"] == share
        assert row["known"] == known.sum() == pytest.approx(share * targets.size, abs=4 * (targets.size * 0.21) ** 0.5)
        assert (known_labels.numpy() == targets)[known].all()
        assert (known | ~former).all()  # more is known of the same
        former = known
        with torch.no_grad():
            for name, given in (("mAP", known_labels), ("mAP_without", None)):
                scores = model(pixels, known=given).logits.sigmoid().numpy()
                # Two definitions of AP: the envelope of precision lies above scikit-learn's steps.
                assert row[name] >= mean_ap(scores, targets, ~known) - 1e-6
                assert row[name] == pytest.approx(mean_ap(scores, targets, ~known), abs=0.25)
    assert "70 % known: mAP" in capsys.readouterr().out


def test_what_follows_from_known_labels_is_not_left_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[torch.Tensor] = []

    def evaluate(*args: Any, known: torch.Tensor, **options: Any) -> Any:
        told.append(known)
        return np.full(targets.shape, 0.5), targets, None

    monkeypatch.setattr(known_labels, "evaluate_model", evaluate)
    parents = {"dog": ["animal"]}
    hierarchy = make_hierarchy(parents, ["dog", "animal", "sofa"])
    targets = np.array([[1, 1, 0]] * 30 + [[0, 0, 1]] * 30, dtype=np.float32)
    images: Any = SimpleNamespace(
        label_names=["dog", "animal", "sofa"], image_ids=[str(row) for row in range(60)], targets=lambda: targets
    )
    model: Any = SimpleNamespace(hierarchy=hierarchy, device="cpu")
    known_labels.score_with_known_labels(model, None, images, np.full(targets.shape, 0.5), None, shares=[0.5], seed=0)  # type: ignore[arg-type]
    (row,) = told
    drawn = known_entries(images.image_ids, images.label_names, split="known labels", proportion=0.5, seed=0)
    for number in range(60):
        dog, animal, sofa = drawn[number]
        if targets[number, 0] == 1:  # a dog is an animal
            assert (row[number] >= 0).tolist() == [dog, animal or dog, sofa]
        else:  # without an animal there is no dog
            assert (row[number] >= 0).tolist() == [dog or animal, animal, sofa]
    assert (row.numpy() == targets)[row.numpy() >= 0].all()


def test_what_cannot_be_scored_or_trained_with_known_labels(
    tmp_path: Path, tiny: Callable[..., Arguments], data: dict[str, Any]
) -> None:
    for share in ("0", "1"):
        with pytest.raises(InputError, match=r"known_shares is \[.*\]: give a number in \(0, 1\)"):
            score("--known_shares", share, model=tmp_path, **data)
    recovery = {"head": "sct_known_labels", "known_proportion": 0.5, "unknown_labels": "recover"}
    with pytest.raises(InputError, match=r"unknown_labels is 'recover', .* choose another head"):
        train(tiny(output_dir=tmp_path / "recover", report_to="none", **recovery))
