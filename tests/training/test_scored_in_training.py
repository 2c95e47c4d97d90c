"""Scores on images of training bring a word, in the report and in metrics.json."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sct_hf.training.arguments import Arguments, EvaluationDataArguments, ScoringArguments
from sct_hf.training.loop import train
from sct_hf.training.scoring import score_checkpoint

Tiny = Callable[..., Arguments]
ALL = "all images that are scored are images of training too"


def test_training_on_what_is_scored(tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    train(tiny(output_dir=tmp_path, epochs=1, eval_split="train", check_data=False))
    assert capsys.readouterr().out.count(ALL) == 2  # before training, and below the table
    assert json.loads((tmp_path / "metrics.json").read_text())["scored_in_training"] == 30


def test_a_table_with_some_images_of_training(
    tmp_path: Path, table: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [(table / f"{split}.jsonl").read_text().splitlines() for split in ("train", "test")]
    (tmp_path / "mixed.jsonl").write_text("\n".join([*lines[0][:4], *lines[1]]))
    options = {"eval_file": tmp_path / "mixed.jsonl", "train_file": table / "train.jsonl", "check_data": False}
    metrics = train(tiny(output_dir=tmp_path / "run", epochs=1, **options))
    assert metrics["scored_in_training"] == 4
    assert "4 of the 15 scored images are images of training too" in capsys.readouterr().out


def test_scoring_a_run_on_its_training_split(
    tmp_path: Path, table: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = train(tiny(output_dir=tmp_path / "run", epochs=1))
    assert "scored_in_training" not in metrics
    for split, count in (("train", 1), ("test", 0)):
        capsys.readouterr()
        arguments = ScoringArguments(model=str(tmp_path / "run"), output_dir=str(tmp_path / split))
        data = EvaluationDataArguments(dataset="jsonl", data_dir=str(table), eval_split=split, num_workers=0)
        metrics = score_checkpoint(arguments, data)
        assert capsys.readouterr().out.count(ALL) == count
        assert ("scored_in_training" in metrics) == (count == 1)
