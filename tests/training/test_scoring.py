import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sct_hf.errors import InputError
from sct_hf.factory import build_model, image_processor
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.training import report
from sct_hf.training.arguments import Arguments, EvaluationDataArguments, ScoringArguments
from sct_hf.training.loop import train
from sct_hf.training.parsing import parse_into
from sct_hf.training.scoring import score_checkpoint

REPOSITORY = Path(__file__).parents[2]


def score(*words: str, **options: Any) -> dict[str, Any]:
    given = [f"--{name}={value}" for name, value in options.items()]
    return score_checkpoint(*parse_into([*words, *given], ScoringArguments, EvaluationDataArguments))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    def make(*labels: str) -> Path:
        model = build_model("test_resnet", list(labels), image_size=32, head="linear")
        folder = tmp_path / "-".join(labels)
        model.save_pretrained(folder)
        image_processor(model.config).save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def data(table: Path) -> dict[str, Any]:
    return {"dataset": "jsonl", "data_dir": table, "eval_split": "test", "num_workers": 0, "cpu_threads": 1}


def test_figures_equal_those_of_the_run(
    tmp_path: Path, tiny: Callable[..., Arguments], data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "training_curves", lambda *args, **kwargs: None)
    monkeypatch.setattr(report, "tag_sheet", lambda *args, **kwargs: None)
    of_run = train(tiny(output_dir=tmp_path / "run", epochs=1))
    metrics = score(model=tmp_path / "run", output_dir=tmp_path / "scores", batch_size=3, **data)
    assert metrics["AP"] == pytest.approx(of_run["AP"])
    assert metrics["OF1"] == pytest.approx(of_run["OF1"])
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text()) == metrics
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {
        *("metrics.json", "per_label.csv", "predictions.parquet", "report.html")
    }
    with pytest.raises(InputError, match="the folder of a training run"):
        score(model=tmp_path / "run", output_dir=tmp_path / "run", **data)


def test_labels_that_the_data_set_does_not_have_are_not_judged(
    tmp_path: Path, checkpoint: Callable[..., Path], data: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoint("white", "zebra", "red", "blue", "green")
    metrics = score(model=folder, output_dir=tmp_path / "scores", **data)
    assert metrics["AP"]["zebra"] is None
    assert metrics["labels_not_judged"] == ["zebra"]
    row = pd.read_csv(tmp_path / "scores" / "per_label.csv").set_index("label").loc["zebra"]
    assert row[["AP", "precision", "recall", "F1"]].isna().all()
    table = pd.read_parquet(tmp_path / "scores" / "predictions.parquet")
    assert (table["target/zebra"] == -1).all()
    names = ["blue", "green", "red", "white"]
    scores, targets = (table[[f"{kind}/{name}" for name in names]].to_numpy() for kind in ("score", "target"))
    of_the_four = multilabel_metrics(scores, targets)
    assert {key: metrics[key] for key in ("mAP", "CF1", "OF1", "exact_match")} == pytest.approx(
        {key: of_the_four[key] for key in ("mAP", "CF1", "OF1", "exact_match")}
    )
    assert "not judged in any image of the data set: zebra" in capsys.readouterr().out


def test_label_that_the_checkpoint_does_not_know(
    tmp_path: Path, checkpoint: Callable[..., Path], data: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=r"labels that the model does not know: white; .* The model knows red"):
        score(model=checkpoint("red", "green", "blue"), output_dir=tmp_path / "scores", **data)


@pytest.mark.parametrize("name", ["/no/such/folder", "./none/such/folder"])
def test_no_such_checkpoint(name: str, data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        score(model=name, **data)


def test_folder_without_a_checkpoint(tmp_path: Path, data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cannot be loaded as a checkpoint"):
        score(model=tmp_path, **data)


@pytest.mark.parametrize("script", ["train", "evaluate"])
def test_scripts_name_the_error_and_exit_with_2(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(REPOSITORY / "scripts" / f"{script}.py")
    monkeypatch.setattr(sys, "argv", [path, "--epocs=1"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(path, run_name="__main__")
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: --epocs=1 is no option")
