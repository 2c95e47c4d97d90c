"""Training without some labels, and scoring them by their text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sct_hf import encode_labels, multilabel_metrics
from sct_hf.data import ImageDataset, eval_transform, load_data
from sct_hf.errors import InputError
from sct_hf.metrics.zero_shot import top_k_metrics
from sct_hf.training.arguments import Arguments, EvaluationDataArguments, ScoringArguments
from sct_hf.training.loop import train
from sct_hf.training.models import load_model
from sct_hf.training.parsing import parse_into
from sct_hf.training.run_data import load_run_data
from sct_hf.training.scoring import score_checkpoint

Tiny = Callable[..., Arguments]
SEEN, UNSEEN = ["blue", "red"], ["green", "white"]  # of the data set blue, green, red, white


def logits(folder: Path, table: Path, names: list[str]) -> np.ndarray:
    """Scores (N, C) of the test images by a checkpoint that is given labels for good."""
    model = load_model(str(folder), field="model").eval()
    text = encode_labels(names, "random:8")
    model.set_labels(names, text.embeddings, text.recipe)
    config = model.config
    images = load_data("jsonl", "test", data_dir=table)
    run_data = ImageDataset(images, eval_transform(config.image_size, config.image_mean, config.image_std))
    with torch.no_grad():
        return model(torch.stack([image["pixel_values"] for image in run_data])).logits.numpy()


def test_training_is_told_nothing_of_unseen_labels(tmp_path: Path, tiny: Tiny, table: Path, capsys) -> None:
    folder = tmp_path / "run"
    metrics = train(tiny(output_dir=folder, unseen_labels="white,green", scorer="label", epochs=1))
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert load_model(str(folder), field="model").config.label_names == SEEN
    assert list(pd.read_csv(folder / "per_label.csv")["label"]) == SEEN
    found = metrics["zero_shot"]
    assert (found["seen_labels"], found["unseen_labels"]) == (SEEN, UNSEEN)
    truth = load_data("jsonl", "test", data_dir=table).with_labels([*SEEN, *UNSEEN]).targets()
    alone, together = logits(folder, table, UNSEEN), logits(folder, table, [*SEEN, *UNSEEN])
    by_hand = multilabel_metrics(alone, truth[:, 2:], label_names=UNSEEN)
    assert found["ZSL_AP"] == pytest.approx(by_hand["AP"])
    assert found["ZSL_mAP"] == pytest.approx(by_hand["mAP"])
    assert found["GZSL_AP"] == pytest.approx(multilabel_metrics(together, truth, label_names=[*SEEN, *UNSEEN])["AP"])
    assert found["GZSL_F1@3"] == pytest.approx(top_k_metrics(together, truth, 3)["F1@3"])
    assert found["GZSL_chance_mAP"] == pytest.approx(truth.mean())
    output = capsys.readouterr().out
    assert "ZSL  unseen labels alone: mAP" in output
    assert f"chance {100 * truth[:, 2:].mean():.1f}" in output

    # The same figures from the checkpoint alone.
    words = {"model": folder, "dataset": "jsonl", "data_dir": table, "output_dir": tmp_path / "scores"}
    words |= {"unseen_labels": "green,white", "num_workers": 0, "cpu_threads": 1, "batch_size": 3}
    given = [f"--{name}={value}" for name, value in words.items()]
    scored = score_checkpoint(*parse_into(given, ScoringArguments, EvaluationDataArguments))
    assert scored["mAP"] == pytest.approx(metrics["mAP"])
    assert {key: scored["zero_shot"][key] for key in ("ZSL_AP", "GZSL_AP")} == {
        key: pytest.approx(found[key]) for key in ("ZSL_AP", "GZSL_AP")
    }
    with pytest.raises(InputError, match="unseen_labels has 'red', which the model was trained on"):
        score_checkpoint(*parse_into([*given, "--unseen_labels=red"], ScoringArguments, EvaluationDataArguments))


def test_unseen_labels_change_nothing_of_training_but_its_columns(tmp_path: Path, tiny: Tiny, table: Path) -> None:
    """A data set that never had the labels gives the same weights."""
    for split in ("train", "test"):
        rows = [json.loads(line) for line in (table / f"{split}.jsonl").read_text().splitlines()]
        lines = [
            json.dumps({"image": str(table / row["image"]), "labels": [n for n in row["labels"] if n in SEEN]})
            for row in rows
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    metrics = train(tiny(output_dir=tmp_path / "with", unseen_labels="white,green", scorer="label", epochs=1))
    without = train(tiny(output_dir=tmp_path / "without", data_dir=tmp_path, scorer="label", epochs=1))
    assert without["weights_sha256"] == metrics["weights_sha256"]
    assert "zero_shot" not in without
    assert {key: metrics[key] for key in ("mAP", "AP", "OF1")} == {key: without[key] for key in ("mAP", "AP", "OF1")}


def parts(tiny: Tiny, **options: Any) -> Any:
    return load_run_data(tiny(**options).data, options.get("seed", 0))


def test_images_that_show_unseen_labels_are_kept_or_dropped(tiny: Tiny) -> None:
    whole = parts(tiny, holdout=0)
    kept = parts(tiny, holdout=0, unseen_labels="white")
    dropped = parts(tiny, holdout=0, unseen_labels="white", unseen_images="drop")
    white = whole.training.targets()[:, 3] == 1
    assert whole.training.label_names == ["blue", "green", "red", "white"]
    assert 0 < white.sum() < len(white)
    assert (
        kept.training.image_ids
        == whole.training.image_ids
        == kept.all_training.image_ids
        == dropped.all_training.image_ids
    )
    assert kept.training.targets().tolist() == whole.training.targets()[:, :3].tolist()
    assert dropped.training.image_ids == np.array(whole.training.image_ids)[~white].tolist()
    assert dropped.with_unseen.image_ids == whole.evaluation.image_ids
    assert dropped.with_unseen.targets().tolist() == whole.evaluation.targets().tolist()
    assert (whole.split, whole.with_unseen) == (None, None)
    hidden = parts(tiny, holdout=0, unseen_labels="white", unseen_images="drop", known_proportion=0.3)
    assert hidden.training.image_ids == dropped.training.image_ids


def test_unseen_labels_may_be_missing_from_the_training_images(tmp_path: Path, tiny: Tiny, table: Path) -> None:
    rows = [json.loads(line) for line in (table / "train.jsonl").read_text().splitlines()]
    lines = [
        json.dumps({"image": str(table / row["image"]), "labels": [n for n in row["labels"] if n != "white"]})
        for row in rows
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    options = {"train_file": tmp_path / "train.jsonl", "eval_file": table / "test.jsonl", "holdout": 0}
    found = parts(tiny, **options, unseen_labels="white")
    assert (found.split.seen, found.split.unseen) == (["blue", "green", "red"], ["white"])
    assert found.with_unseen.targets()[:, 3].sum() > 0
    with pytest.raises(InputError, match="labels that the model does not know: white"):
        parts(tiny, **options, unseen_labels="red")


def test_shots_are_drawn_from_what_is_left_to_train_on(tiny: Tiny) -> None:
    found = parts(tiny, shots=2, unseen_labels="white", eval_split="held_out", holdout=0.3)
    whole = parts(tiny, unseen_labels="white", eval_split="held_out", holdout=0.3)
    assert set(found.training.image_ids) < set(whole.training.image_ids)
    assert found.evaluation.image_ids == whole.evaluation.image_ids
    assert found.training.label_names == ["blue", "green", "red"]
    assert (found.training.targets().sum(0) >= 2).all()
    assert len(found.training) <= 6


def test_a_head_of_its_own_labels_is_trained_and_scored_on_them_alone(tmp_path: Path, tiny: Tiny, capsys) -> None:
    metrics = train(tiny(output_dir=tmp_path / "run", unseen_labels="white", epochs=1))
    assert "zero_shot" not in metrics
    assert list(metrics["AP"]) == ["blue", "green", "red"]
    assert "unseen labels are not scored" in capsys.readouterr().out
    given = [f"--model={tmp_path / 'run'}", "--dataset=jsonl", "--unseen_labels=white", f"--data_dir={tmp_path}"]
    data = [f"--eval_file={tiny().data.data_dir}/test.jsonl", f"--data_dir={tiny().data.data_dir}"]
    with pytest.raises(InputError, match=r"unseen_labels cannot be scored: .*scorer='linear'"):
        score_checkpoint(*parse_into([*given, *data], ScoringArguments, EvaluationDataArguments))


def test_parents_would_tell_of_unseen_labels(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="unseen_labels is 'white': a parent reveals the labels below it"):
        tiny(unseen_labels="white", hierarchy="voc")


def test_text_that_cannot_be_had_ends_a_run_before_it_starts(tmp_path: Path, tiny: Tiny) -> None:
    encode_labels(SEEN, "random:8").save(tmp_path / "seen.safetensors")
    options = {"label_encoder": tmp_path / "seen.safetensors", "scorer": "label", "unseen_labels": "white,green"}
    with pytest.raises(InputError, match=r"unseen_labels cannot be scored: .*labels without a vector: green, white"):
        train(tiny(output_dir=tmp_path / "run", **options))
    assert not (tmp_path / "run" / "model.safetensors").exists()
