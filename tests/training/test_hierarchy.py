"""A run with a hierarchy of its labels: what it learns from, keeps and reports."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import AutoModelForImageClassification

from sct_hf.data.hierarchies import read_hierarchy
from sct_hf.errors import InputError
from sct_hf.hub.checks import read_run
from sct_hf.metrics import hierarchical_metrics
from sct_hf.training.arguments import Arguments, EvaluationDataArguments, ScoringArguments
from sct_hf.training.loop import train
from sct_hf.training.parsing import parse_into
from sct_hf.training.scoring import score_checkpoint

ROWS = "red,warm\nwhite,pale\nblue,cold\ngreen,cold\nwarm,any\ncold,any\n"
PARENTS = {"red": ["warm"], "white": ["pale"], "blue": ["cold"], "green": ["cold"], "warm": ["any"], "cold": ["any"]}


@pytest.fixture
def hierarchy(tmp_path: Path) -> Path:
    path = tmp_path / "colours.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


def test_a_run_trains_scores_and_keeps_its_hierarchy(
    tmp_path: Path, table: Path, tiny: Callable[..., Arguments], hierarchy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    options: dict[str, Any] = {"hierarchy": hierarchy, "hierarchy_loss_weight": 0.5, "compare_head": "linear"}
    metrics = train(tiny(output_dir=run, **options))
    names = list(metrics["AP"])
    assert set(names) == {"red", "white", "blue", "green", "warm", "pale", "cold", "any"}
    assert "labels with a parent; the parents: " in capsys.readouterr().out
    assert read_hierarchy(run / "hierarchy.csv", names[:4]) == PARENTS

    frame = pd.read_parquet(run / "predictions.parquet")
    scores, targets = (frame[[f"{kind}/{name}" for name in names]].to_numpy() for kind in ("score", "target"))
    rows = [json.loads(line) for line in (table / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    cold = [int(bool({"blue", "green"} & set(row["labels"]))) for row in rows]
    assert frame["target/cold"].tolist() == cold
    found = hierarchical_metrics(scores, targets, PARENTS, names)
    assert {name: metrics[name] for name in found} == found
    assert found["violations"] == 0
    for child, (parent, *_) in PARENTS.items():
        assert (frame[f"score/{parent}"] >= frame[f"score/{child}"] - 1e-6).all()

    checked = read_run(run)  # as for publishing
    assert checked.metrics["hF1"] == metrics["hF1"]
    edited = json.loads((run / "metrics.json").read_text(encoding="utf-8")) | {"hF1": 0.999}
    (run / "metrics.json").write_text(json.dumps(edited), encoding="utf-8")
    with pytest.raises(InputError, match=r"hF1 0\.999 is not what predictions\.parquet gives"):
        read_run(run)

    model = AutoModelForImageClassification.from_pretrained(run)
    assert model.config.label_parents == PARENTS
    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    assert all(row["losses/hierarchy"] > 0 for row in history)
    assert metrics["comparison"]["linear"]["violations"] == 0
    assert json.loads((run / "linear" / "config.json").read_text(encoding="utf-8"))["label_parents"] == PARENTS

    words = {"model": run, "output_dir": tmp_path / "scores", "dataset": "jsonl", "data_dir": table, "num_workers": 0}
    again = score_checkpoint(
        *parse_into(
            [*(f"--{name}={value}" for name, value in words.items()), "--cpu_threads=1"],
            ScoringArguments,
            EvaluationDataArguments,
        )
    )
    for name in ("mAP", "hP", "hR", "hF1", "mAP_leaves", "violations"):
        assert again[name] == pytest.approx(metrics[name], abs=1e-6)


def test_a_run_without_one_tells_nothing_of_it(tmp_path: Path, tiny: Callable[..., Arguments]) -> None:
    metrics = train(tiny(output_dir=tmp_path, epochs=1, max_train_samples=8))
    assert not {"hP", "hR", "hF1", "mAP_leaves", "violations", "violating_images"} & metrics.keys()
    assert not (tmp_path / "hierarchy.csv").exists()
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["label_parents"] is None


def test_a_weight_needs_a_hierarchy(tiny: Callable[..., Arguments]) -> None:
    with pytest.raises(InputError, match=r"hierarchy_loss_weight is 0\.5: it needs --hierarchy"):
        tiny(hierarchy_loss_weight=0.5)


def test_a_wrong_hierarchy_ends_the_run_before_it_begins(
    tmp_path: Path, tiny: Callable[..., Arguments], hierarchy: Path
) -> None:
    hierarchy.write_text("red,warm\npurple,warm\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2: 'purple' is neither a label"):
        train(tiny(output_dir=tmp_path / "run", hierarchy=hierarchy))
    assert not (tmp_path / "run").exists()
