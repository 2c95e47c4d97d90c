"""Calibration as a step of training and as a command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import expit, logit

from sct_hf import SCTForMultiLabelClassification, image_processor
from sct_hf.decisions import fit_decisions
from sct_hf.errors import InputError
from sct_hf.inference.scoring import score_images
from sct_hf.training import calibrate
from sct_hf.training.arguments import Arguments
from sct_hf.training.folds import Scored
from sct_hf.training.loop import train
from sct_hf_cli import run

Make = Callable[..., Arguments]
CACHED = {"freeze_backbone": True, "cache_features": True, "cached_views": 2, "holdout": 0}


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty noisy images of four colours; the last twelve are to be scored."""
    folder = tmp_path_factory.mktemp("colours")
    rows = draw(folder, 60, seed=0)
    lines = {"train": rows[:48], "test": rows[48:]}
    for split, rows in lines.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def draw(folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Draw images into a folder; return their lines."""
    rng, rows = np.random.default_rng(seed), []
    shades = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}
    for number in range(count):
        names = [name for name in shades if rng.random() < 0.4] or ["red"]
        pixels = rng.normal(np.mean([shades[name] for name in names], axis=0), 60, (32, 32, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{seed}-{number}.png")
        rows.append({"image": f"{seed}-{number}.png", "labels": names})
    return rows


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


@pytest.fixture(scope="module")
def trained(words: Callable[..., list[str]], colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    options = CACHED | {"data_dir": colours, "cache_dir": folder / "cache", "calibration_folds": 3}
    assert run("train", *words(output_dir=folder / "run", **options)) == 0
    return folder / "run"


def test_training_ends_with_what_its_out_of_fold_scores_say(trained: Path) -> None:
    scored = Scored.load(trained / "out_of_fold.parquet")
    wanted = fit_decisions(scored.logits, scored.targets, list(scored.label_names))
    config = config_of(trained)
    assert config["calibration"] == wanted.calibration
    assert config["thresholds"] == wanted.thresholds
    record = json.loads((trained / "decisions.json").read_text())
    assert (record["images"], record["folds"], record["split"]) == (48, 3, "train")
    assert len(set(record["contents"])) == 48
    assert not (trained / "folds").exists()


def test_scores_that_training_reports_are_calibrated(trained: Path, colours: Path) -> None:
    model = SCTForMultiLabelClassification.from_pretrained(trained)
    found = pd.read_parquet(trained / "predictions.parquet")
    pairs = config_of(trained)["calibration"]
    model.config.calibration = None
    images = [Image.open(colours / name) for name in found["image_id"]]
    plain, _ = score_images(model, image_processor(model.config), images)
    slope, shift = (np.array(pairs[name]) for name in ("slope", "shift"))
    wanted = expit(slope * logit(plain.astype(np.float64)) + shift)
    names = model.config.label_names
    np.testing.assert_allclose(found[[f"score/{name}" for name in names]].to_numpy(), wanted, atol=1e-4)


def test_the_command_fits_on_the_runs_own_images(trained: Path, tmp_path: Path, capsys: Any) -> None:
    copy = shutil.copytree(trained, tmp_path / "run")
    before = config_of(copy)
    half = {"slope": [0.5] * 3, "shift": [-1.0] * 3}
    (copy / "config.json").write_text(json.dumps(before | {"calibration": half, "thresholds": None}))
    names = [before["id2label"][str(label)] for label in range(3)]
    table, columns = pd.read_parquet(trained / "predictions.parquet"), [f"score/{name}" for name in names]
    plain = (logit(table[columns].astype(float)) - before["calibration"]["shift"]) / before["calibration"]["slope"]
    table[columns] = expit(0.5 * plain - 1).astype(np.float32)
    table.to_parquet(copy / "predictions.parquet")  # as another calibration gave them
    assert run("calibrate", f"--model={copy}", "--folds=3") == 0
    assert config_of(copy) == before
    metrics, wanted = (json.loads((folder / "metrics.json").read_text()) for folder in (copy, trained))
    assert metrics["AP"] == pytest.approx(wanted["AP"])
    assert metrics["OF1"] == pytest.approx(wanted["OF1"])
    found = [pd.read_parquet(folder / "predictions.parquet") for folder in (copy, trained)]
    pd.testing.assert_frame_equal(*found, atol=1e-5)
    assert "Fitted on 48 images of jsonl train in 3 folds" in capsys.readouterr().out


def test_the_command_fits_on_other_images_and_leaves_out_reported_ones(
    trained: Path, colours: Path, tmp_path: Path, capsys: Any
) -> None:
    copy = shutil.copytree(trained, tmp_path / "run")
    rows = [json.loads(line) for split in ("train", "test") for line in (colours / f"{split}.jsonl").open()]
    own = shutil.copytree(colours, tmp_path / "own")
    for number, row in enumerate(rows):  # other names
        (own / row["image"]).rename(own / f"other-{number}.png")
    known = [row | {"image": f"other-{number}.png"} for number, row in enumerate(rows)]
    fresh = draw(own, 20, seed=1)
    (own / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*known, *fresh]))
    options = ["--dataset=jsonl", f"--data_dir={own}", "--eval_split=test", "--cpu_threads=1", "--num_workers=0"]
    assert run("calibrate", f"--model={copy}", *options, "--profiles", "recall=0.8") == 0
    said = capsys.readouterr().out
    assert "Fitted on 20 images of jsonl test; 60 more are left out" in said
    assert list(config_of(copy)["thresholds"]) == ["recall=0.8"]
    (own / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known[48:]))
    assert run("calibrate", f"--model={copy}", *options) == 2
    assert "all 12 images to fit calibration and thresholds on" in capsys.readouterr().err


def test_the_split_that_trained_the_model_is_refused(
    trained: Path, colours: Path, tmp_path: Path, capsys: Any
) -> None:
    options = ["--dataset=jsonl", f"--data_dir={colours}", "--eval_split=train", "--cpu_threads=1", "--num_workers=0"]
    assert run("calibrate", f"--model={trained}", *options) == 2
    assert "jsonl train trained the model" in capsys.readouterr().err
    assert run("calibrate", f"--model={trained}", "--eval_split=train") == 2
    assert "eval_split is given without images" in capsys.readouterr().err


def test_training_images_stay_known_after_a_fit_on_others(
    trained: Path, colours: Path, tmp_path: Path, capsys: Any
) -> None:
    copy, own = shutil.copytree(trained, tmp_path / "run"), shutil.copytree(colours, tmp_path / "own")
    (own / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in draw(own, 20, seed=1)))
    options = [f"--model={copy}", "--dataset=jsonl", f"--data_dir={own}", "--cpu_threads=1", "--num_workers=0"]
    assert run("calibrate", *options, "--eval_split=test") == 0
    assert run("calibrate", *options, "--eval_split=train") == 2
    assert "all 48 images to fit calibration and thresholds on are images of training" in capsys.readouterr().err
    assert run("evaluate", *options, "--eval_split=train", f"--output_dir={tmp_path / 'scores'}") == 0
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["scored_in_training"] == 48


def test_figures_without_contents_are_not_fitted_on(trained: Path, colours: Path, tmp_path: Path, capsys: Any) -> None:
    copy = shutil.copytree(trained, tmp_path / "run")
    pd.read_parquet(copy / "predictions.parquet").drop(columns="content").to_parquet(copy / "predictions.parquet")
    options = ["--dataset=jsonl", f"--data_dir={colours}", "--eval_split=test", "--cpu_threads=1", "--num_workers=0"]
    assert run("calibrate", f"--model={copy}", *options) == 2
    assert "are of jsonl test too, which would flatter them" in capsys.readouterr().err


def test_a_killed_command_leaves_figures_that_the_next_one_understands(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(trained, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(calibrate, "_write_config", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            calibrate.calibrate(calibrate.CalibrationArguments(model=str(copy), profiles=["recall=0.8"]), None)
    assert run("calibrate", f"--model={copy}") == 0
    found = [pd.read_parquet(folder / "predictions.parquet") for folder in (copy, trained)]
    pd.testing.assert_frame_equal(*found, atol=1e-5)


def test_evaluating_images_of_the_fit_is_said(trained: Path, colours: Path, tmp_path: Path, capsys: Any) -> None:
    options = ["--dataset=jsonl", f"--data_dir={colours}", "--eval_split=train", "--cpu_threads=1", "--num_workers=0"]
    assert run("evaluate", f"--model={trained}", f"--output_dir={tmp_path / 'scores'}", *options) == 0
    assert "48 of the 48 scored images also set calibration and thresholds" in capsys.readouterr().out
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["scored_in_calibration"] == 48


def test_a_run_that_scores_its_training_images_is_not_calibrated(
    words: Callable[..., list[str]], colours: Path, tmp_path: Path, capsys: Any
) -> None:
    options = CACHED | {"data_dir": colours, "cache_dir": tmp_path / "cache", "calibration_folds": 2, "epochs": 1}
    options["check_data"] = False  # which refuses it
    assert run("train", *words(output_dir=tmp_path / "run", eval_split="train", **options)) == 0
    assert "scores are not calibrated: no training image is apart" in capsys.readouterr().out
    assert config_of(tmp_path / "run")["calibration"] is None


def test_folds_need_cached_maps(tiny: Make) -> None:
    with pytest.raises(InputError, match=r"calibration_folds is 3: .*cache_features"):
        tiny(calibration_folds=3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "model is missing: name the folder of a checkpoint"),
        (["--model=nowhere"], "model is 'nowhere', which holds no config.json"),
        (["--model=nowhere", "--profiles", "accuracy=0.9"], "accuracy"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(words: list[str], told: str, capsys: Any) -> None:
    assert run("calibrate", *words) == 2
    assert told in capsys.readouterr().err


def test_a_checkpoint_without_a_run_needs_images(trained: Path, tmp_path: Path, capsys: Any) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(trained / name, tmp_path)
    assert run("calibrate", f"--model={tmp_path}") == 2
    assert "is no folder of a training run" in capsys.readouterr().err


def test_a_killed_step_goes_on(
    tiny: Make, colours: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sct_hf.training import folds

    options = CACHED | {"data_dir": colours, "cache_dir": tmp_path / "cache", "calibration_folds": 3}
    real = folds.train_and_score

    def stops(*given: Any) -> Any:
        if given[4].name == "2-of-3":
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(folds, "train_and_score", stops)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(output_dir=tmp_path / "run", **options))
    monkeypatch.undo()
    train(tiny(output_dir=tmp_path / "run", resume=True, **options))
    assert config_of(tmp_path / "run")["calibration"] == config_of(trained)["calibration"]


def test_of_many_labels_the_most_frequent_are_printed() -> None:
    rng = np.random.default_rng(0)
    names = [f"label {number}" for number in range(120)]
    targets = (rng.random((300, 120)) < np.linspace(0.1, 0.5, 120)).astype(np.int8)
    found = fit_decisions(rng.normal(size=targets.shape), targets, names, profiles=["balanced"])
    text = calibrate.format_decisions(
        {"dataset": "animals", "split": "val", "left_out_as_evaluated": 0} | found.report
    )
    counts = [int(line.split()[2]) for line in text.splitlines() if line.startswith("label ")]
    assert counts == sorted(targets.sum(axis=0).tolist(), reverse=True)[:20]
    assert "the 20 labels with the most positives; decisions.json has all 120" in text
