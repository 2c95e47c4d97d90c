"""Whole runs with incomplete labels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification

from sct_hf.data import load_data
from sct_hf.data.masks import known_entries
from sct_hf.errors import InputError
from sct_hf.objectives.recovery import Recovery
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train
from sct_hf.training.run_data import load_run_data
from sct_hf_cli import run

Tiny = Callable[..., Arguments]
HALF = {"known_proportion": 0.5}
TREATMENTS = ["ignore", "negative", "recover", "blend"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_labels_are_hidden_in_training_alone(tmp_path: Path, tiny: Tiny) -> None:
    whole = load_run_data(tiny().data, 0)
    hidden = load_run_data(tiny(**HALF).data, 0)
    ids, names = whole.training.image_ids, whole.all_training.label_names
    known = known_entries(ids, names, split="train", proportion=0.5, seed=0)
    np.testing.assert_array_equal(hidden.training.targets(), np.where(known, whole.training.targets(), -1))
    for part in ("all_training", "held_out", "evaluation"):
        np.testing.assert_array_equal(getattr(hidden, part).targets(), getattr(whole, part).targets())
    fewer = load_run_data(tiny(**HALF, max_train_samples=12, holdout=0, mask_seed=0).data, 5).training
    row_of = {image_id: row for row, image_id in enumerate(whole.all_training.image_ids)}
    everywhere = known_entries(whole.all_training.image_ids, names, split="train", proportion=0.5, seed=0)
    rows = [row_of[image_id] for image_id in fewer.image_ids]
    np.testing.assert_array_equal(fewer.targets() >= 0, everywhere[rows])
    other = load_run_data(tiny(**HALF, mask_seed=1).data, 0).training.targets()
    assert (other != hidden.training.targets()).mean() > 0.3


def test_the_mask_lies_beside_the_run(tmp_path: Path, tiny: Tiny) -> None:
    train(tiny(output_dir=tmp_path / "hidden", epochs=1, **HALF))
    stored = np.load(tmp_path / "hidden" / "known_labels.npz")
    training = load_run_data(tiny(**HALF).data, 0).training
    assert stored["image_ids"].tolist() == training.image_ids
    assert stored["label_names"].tolist() == training.label_names
    np.testing.assert_array_equal(stored["known"], training.targets() >= 0)
    train(tiny(output_dir=tmp_path / "hidden", epochs=1, overwrite_output_dir=True))
    assert not (tmp_path / "hidden" / "known_labels.npz").exists()


def test_maps_are_cached_once_for_all_masks(tmp_path: Path, tiny: Tiny) -> None:
    cached = {"freeze_backbone": True, "cache_features": True, "cache_dir": tmp_path / "cache", "epochs": 1}
    for number, options in enumerate([{}, HALF, {"single_positive": True}]):
        train(tiny(output_dir=tmp_path / str(number), **cached | options))
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2  # of train and of test
    assert not same(tmp_path / "0", tmp_path / "1")


@pytest.mark.parametrize("treatment", TREATMENTS[1:])
def test_nothing_changes_where_all_labels_are_known(tmp_path: Path, tiny: Tiny, treatment: str) -> None:
    train(tiny(output_dir=tmp_path / "plain"))
    train(tiny(output_dir=tmp_path / "known", unknown_labels=treatment))
    assert same(tmp_path / "plain", tmp_path / "known")


def test_negative_is_training_on_a_table_that_leaves_them_out(tmp_path: Path, tiny: Tiny, table: Path) -> None:
    train(tiny(output_dir=tmp_path / "negative", holdout=0, unknown_labels="negative", **HALF))
    images = load_data("jsonl", "train", data_dir=table)
    known = known_entries(images.image_ids, images.label_names, split="train", proportion=0.5, seed=0)
    lines = [
        {"image": image_id, "labels": [name for name, keep in zip(images.label_names, row, strict=True) if keep]}
        for image_id, row in zip(images.image_ids, known & (images.targets() == 1), strict=True)
    ]
    path = tmp_path / "table.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    train(tiny(output_dir=tmp_path / "table", holdout=0, train_file=path))
    assert same(tmp_path / "negative", tmp_path / "table")
    train(tiny(output_dir=tmp_path / "ignore", holdout=0, **HALF))
    assert not same(tmp_path / "negative", tmp_path / "ignore")


@pytest.mark.parametrize(("treatment", "head"), [("recover", "sct"), ("blend", "sct"), ("recover", "linear")])
def test_what_is_saved_is_the_model_alone(tmp_path: Path, tiny: Tiny, treatment: str, head: str) -> None:
    options: dict[str, Any] = {"head": head, **HALF}
    train(tiny(output_dir=tmp_path / "ignore", **options))
    metrics = train(tiny(output_dir=tmp_path / "run", unknown_labels=treatment, recovery_weight=0.5, **options))
    assert weights(tmp_path / "run").keys() == weights(tmp_path / "ignore").keys()
    assert not same(tmp_path / "run", tmp_path / "ignore")
    model, found = AutoModelForImageClassification.from_pretrained(tmp_path / "run", output_loading_info=True)
    assert not any(found.values())
    assert model.config.to_dict().keys() == (
        AutoModelForImageClassification.from_pretrained(tmp_path / "ignore").config.to_dict().keys()
    )
    assert 0 < metrics["mAP"] <= 1
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert all(row["losses/recovery"] > 0 for row in history)


def test_the_weight_of_recovery_by_the_share_of_the_steps(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float, float]] = []

    def weights(self: Recovery, progress: float) -> dict[str, float]:
        seen.append((progress, self.options.recovery_weight, self.options.recovery_warmup))
        return {"recovery": 0.0}

    monkeypatch.setattr(Recovery, "weights", weights)
    options: dict[str, Any] = {"gradient_accumulation": 2, "recovery_weight": 3, "recovery_warmup": 0.5, **HALF}
    train(tiny(output_dir=tmp_path / "run", unknown_labels="recover", **options))
    steps = [step / 6 for step in range(6) for _ in range(2)]  # 2 epochs of 3 steps of 2 batches
    assert seen == [(pytest.approx(step), 3, 0.5) for step in steps]
    train(tiny(output_dir=tmp_path / "ignore", **options))
    assert same(tmp_path / "run", tmp_path / "ignore")  # of weight 0, it changes nothing


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_single_positives_and_collages(tmp_path: Path, tiny: Tiny, treatment: str) -> None:
    options: dict[str, Any] = {"single_positive": True, "collage": 0.5, "epochs": 1}
    assert train(tiny(output_dir=tmp_path, unknown_labels=treatment, **options))["mAP"] > 0
    known = np.load(tmp_path / "known_labels.npz")["known"]
    assert known.sum(axis=1).max() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"known_proportion": 0}, r"known_proportion is 0.0: give a number in \(0, 1\]"),
        ({"known_proportion": 1.1}, "known_proportion is 1.1"),
        ({"known_proportion": 0.5, "single_positive": True}, "known_proportion is 0.5: leave it out, or single_pos"),
        ({"recovery_weight": -1}, "recovery_weight is -1.0"),
        ({"recovery_temperature": 0}, "recovery_temperature is 0.0: give a number > 0"),
        ({"recovery_warmup": 1.5}, r"recovery_warmup is 1.5: give a number in \[0, 1\]"),
    ],
)
def test_what_cannot_be_used(tiny: Tiny, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(**options)


def test_hidden_labels_as_a_table(
    tmp_path: Path, tiny: Tiny, words: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"known_proportion": 0.4, "seed": 2}
    assert run("hide", *words(**options), f"--output_file={tmp_path / 'known.csv'}") == 0
    back = load_data("csv", "train", files=str(tmp_path / "known.csv"))
    np.testing.assert_array_equal(back.targets(), load_run_data(tiny(**options).data, 2).training.targets())
    assert run("hide", *words(known_proportion=0)) == 2
    for option in ({"shots": 3}, {"unseen_labels": "white"}, {"hierarchy": "wordnet"}):
        assert run("hide", *words(**option), f"--output_file={tmp_path / 'none.csv'}") == 2
        assert f"{next(iter(option))} is {next(iter(option.values()))!r}" in capsys.readouterr().err
    assert not (tmp_path / "none.csv").exists()


def test_the_single_positive_is_one_of_the_labels_of_training(tiny: Tiny) -> None:
    options: dict[str, Any] = {"holdout": 0, "unseen_labels": "white,red"}
    whole = load_run_data(tiny(**options).data, 0).training
    kept = load_run_data(tiny(**options, single_positive=True).data, 0).training
    assert kept.label_names == whole.label_names
    present, left = whole.targets() == 1, kept.targets()
    np.testing.assert_array_equal((left == 1).sum(axis=1), present.any(axis=1))
    assert not (left == 0).any()
    assert (present[left == 1]).all()
