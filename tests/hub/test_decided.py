"""Publishing a run with calibration and thresholds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sct_hf.decisions import fit_decisions
from sct_hf.errors import InputError
from sct_hf.escaping import in_markdown
from sct_hf.hub.card import make_card
from sct_hf.hub.checks import read_run
from sct_hf.hub.claims import Notes
from sct_hf.hub.publish import prepared
from sct_hf.training.folds import as_logits
from sct_hf.training.models import load_model
from sct_hf.training.rescore import rescore


@pytest.fixture
def decided(folder: Path) -> Path:
    """The trained folder, calibrated on its own figures: here only the card matters."""
    table = pd.read_parquet(folder / "predictions.parquet")
    config = load_model(str(folder), field="folder").config
    scores, targets = (table[[f"{kind}/{name}" for name in config.label_names]] for kind in ("score", "target"))
    found = fit_decisions(as_logits(scores.to_numpy()), targets.to_numpy(), config.label_names)
    config.calibration, config.thresholds = found.calibration, found.thresholds
    written = json.loads((folder / "config.json").read_text())
    written |= {"calibration": found.calibration, "thresholds": found.thresholds}
    (folder / "config.json").write_text(json.dumps(written))
    record = {"dataset": "jsonl", "split": "train", "folds": 5, "images": 7, "left_out_as_evaluated": 2}
    (folder / "decisions.json").write_text(json.dumps(found.report | record | {"contents": ["secret"]}))
    rescore(folder, None, config)
    return folder


def test_the_card_says_what_was_fitted_where_and_what_it_gives(decided: Path) -> None:
    run = read_run(decided)
    text = str(make_card(run, "me/x", Notes("", {})))
    assert "split `train`: 7 images, each scored by one of 5 models that were trained without it; 2 more" in text
    for name, figures in run.metrics["profiles"].items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {in_markdown(name)} |")]
        assert f"| {100 * figures['OF1']:.1f} |" in row
    assert f"Brier score {run.metrics['calibration']['Brier']:.4f}" in text
    assert "Scores were not calibrated" not in text


def test_diagrams_and_the_record_are_published_without_the_digests_of_images(decided: Path) -> None:
    with prepared(decided, "me/x") as target:
        assert (target / "reliability.png").read_bytes().startswith(b"\x89PNG")
        record = json.loads((target / "decisions.json").read_text())
        assert record["images"] == 7
        assert "contents" not in record
        assert "![Reliability diagrams" in (target / "README.md").read_text()


def _spoil(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_spoil("metrics.json", lambda m: m["profiles"]["balanced"].update(OF1=0.99)), "profiles is not what"),
        (_spoil("metrics.json", lambda m: m["calibration"].update(ECE=0.0)), "calibration is not what"),
        (_spoil("metrics.json", lambda m: m.pop("profiles")), "lacks profiles"),
        (_spoil("decisions.json", lambda d: d.pop("split")), "lacks 'split'"),
        (_spoil("decisions.json", lambda d: d.update(images="many")), "is no record of a fit"),
        (_spoil("decisions.json", lambda d: d["calibration"]["after"].update(curve=[])), "decisions.json lacks"),
        (_spoil("config.json", lambda c: c["thresholds"].pop("balanced")), "decisions.json has other thresholds"),
    ],
)
def test_figures_and_records_that_do_not_belong_are_refused(
    decided: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(decided)
    with pytest.raises(InputError, match=told):
        read_run(decided)


def test_thresholds_of_the_record_are_those_of_the_configuration(decided: Path) -> None:
    run = read_run(decided)
    assert run.decisions is not None
    shown = run.decisions["profiles"]["balanced"]["labels"]
    assert [facts["threshold"] for facts in shown.values()] == run.model.config.thresholds["balanced"]
