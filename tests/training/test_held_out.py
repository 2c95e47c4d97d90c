"""The part of training that is held out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sct_hf.errors import InputError
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train
from sct_hf.training.run_data import load_run_data

Tiny = Callable[..., Arguments]


def test_a_stratified_held_out_part(tmp_path: Path, tiny: Tiny) -> None:
    pytest.importorskip("iterstrat", reason="iterative-stratification is absent: pip install sct_hf[stratified]")
    run_data = load_run_data(tiny(holdout_stratified=True, holdout=0.34).data, 0)
    assert run_data.held_out is not None
    whole, part = ((images.targets() == 1).sum(0) for images in (run_data.all_training, run_data.held_out))
    assert np.abs(part - 0.34 * whole).max() <= 1.5
    assert sorted(run_data.training.image_ids + run_data.held_out.image_ids) == sorted(run_data.all_training.image_ids)


def test_the_held_out_part_scored_in_place_of_an_evaluation_split(tmp_path: Path, tiny: Tiny) -> None:
    """30 images are split 24 : 6; the evaluation split is not even read."""
    options: dict[str, Any] = {"freeze_backbone": True, "cache_features": True, "cache_dir": tmp_path / "cache"}
    options |= {"head": "linear", "eval_split": "held_out"}
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
        return training, judged, len(run_data.all_training)

    drawn = {"max_train_samples": 10, "draw_from_rest": True, "holdout_seed": 3}
    (one, judged, whole), (other, same, _) = (parts(**drawn, seed=seed) for seed in (0, 1))
    assert (len(one), len(other), len(judged), whole) == (10, 10, 6, 30)
    assert one != other
    assert judged == same
    assert judged != parts(**drawn | {"holdout_seed": 4})[1]
    assert len(parts(max_train_samples=10)[0]) == 8  # without it the part is held out of those that are drawn
    assert parts(seed=5)[1] == parts(holdout_seed=5)[1]


def test_without_a_held_out_part_training_images_are_scored_after_each_epoch(tiny, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "freeze_backbone": True,
        "cache_features": True,
        "cache_dir": tmp_path / "cache",
        "figures": True,
    }
    metrics = train(
        tiny(output_dir=tmp_path / "run", holdout=0.0, eval_split="train", epochs=2, check_data=False, **options)
    )
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len([row["training_mAP"] for row in history]) == 2
    assert not any("holdout_mAP" in row for row in history)
    assert metrics["holdout_mAP"] is None  # it selected nothing
    assert metrics["mAP"] == pytest.approx(history[-1]["training_mAP"], abs=1e-6)  # the same images, at the end
