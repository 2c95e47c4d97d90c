import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sct_hf.benchmark import cells
from sct_hf.benchmark.contenders import CONTENDERS
from sct_hf.benchmark.settings import value_of, with_settings
from sct_hf.benchmark.variants import BASE, FURTHER_VARIANTS, VARIANTS
from sct_hf.errors import InputError
from sct_hf.training.arguments import Arguments, DataArguments, ModelArguments, TrainArguments
from sct_hf.training.devices import cpu_name

Benchmark = Callable[..., int]


def test_variants_against_the_base(tmp_path: Path, run_benchmark: Benchmark) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {
        "variants": ["no encoder", "label scorer"],
        "folds": 2,
        "seeds": 2,
        "learning_rate": 0.01,
    }
    together = ["label scorer", "guidance none"]
    assert run_benchmark("ablation", output_dir=out, eval_file="absent.jsonl", together=together, **options) == 0
    rows = pd.read_parquet(out / "runs.parquet")
    assert set(rows["variant"]) == {BASE, "label scorer", "together"}  # the base has no encoder
    assert set(rows["scored_on"]) == {"train[holdout]"}
    assert len(rows) == 12
    table = pd.read_parquet(out / "ablation.parquet").set_index("variant")
    assert table.loc["together", "changes"] == "scorer=label, head=sct_unguided"
    assert pd.isna(table.loc[BASE, "Δ mAP"])
    for name in ("label scorer", "together"):
        for metric in ("mAP", "CF1"):
            values, base = (
                np.array(
                    [
                        100 * json.loads((out / "runs" / "all" / folder / pair / "metrics.json").read_text())[metric]
                        for pair in ("fold0-seed0", "fold0-seed1", "fold1-seed0", "fold1-seed1")
                    ]
                )
                for folder in (name.replace(" ", "_"), BASE)
            )
            difference = values - base
            assert table.loc[name, f"Δ {metric}"] == round(difference.mean(), 2)
            assert table.loc[name, f"± {metric}"] == round(difference.std(ddof=1) / 2, 2)
    assert (rows.groupby(["fold", "seed"])["variant"].count() == 3).all()
    ids = {
        pair: set(pd.read_parquet(out / "runs" / "all" / BASE / pair / "predictions.parquet")["image_id"])
        for pair in ("fold0-seed0", "fold0-seed1", "fold1-seed0")
    }
    assert ids["fold0-seed0"] == ids["fold0-seed1"] != ids["fold1-seed0"]
    assert len(ids["fold0-seed0"]) == 9


def test_groups_of_labels_have_their_columns(tmp_path: Path, run_benchmark: Benchmark) -> None:
    options: dict[str, Any] = {"variants": ["no pooling by the plan"], "folds": 1, "seeds": 1, "holdout": 0.5}
    out = tmp_path / "out"
    assert run_benchmark("ablation", output_dir=out, frequency_groups="thirds", **options) == 0
    table = pd.read_parquet(out / "ablation.parquet").set_index("variant")
    metrics = json.loads((out / "runs" / "all" / BASE / "fold0-seed0" / "metrics.json").read_text())
    for group in ("rare", "common", "frequent"):
        if metrics[f"mAP_{group}"] is None:
            assert f"mAP_{group} %" not in table
        else:
            assert table.loc[BASE, f"mAP_{group} %"] == round(100 * metrics[f"mAP_{group}"], 2)
    assert metrics["mAP_rare"] is not None


def test_unseen_labels_and_shots_are_in_the_rows(tmp_path: Path, run_benchmark: Benchmark) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {"unseen_labels": "white", "shots": 2, "folds": 1, "seeds": 2, "holdout": 0.5}
    assert run_benchmark("ablation", output_dir=out, variants=["label scorer"], **options) == 0
    rows = pd.read_parquet(out / "runs.parquet").set_index(["variant", "seed"])
    for seed in (0, 1):
        folder = out / "runs" / "all" / "label_scorer" / f"fold0-seed{seed}"
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["train_images"] <= 6  # three labels, two images each
        row = rows.loc[("label scorer", seed)]
        for name in ("ZSL_mAP", "ZSL_chance_mAP", "GZSL_mAP", "GZSL_F1@3"):
            assert row[name] == metrics["zero_shot"][name]
        assert pd.isna(rows.loc[(BASE, seed), "ZSL_mAP"])


def test_the_command_line_wins_over_the_contender(tmp_path: Path, run_benchmark: Benchmark) -> None:
    options: dict[str, Any] = {"variants": ["hidden size 128"], "folds": 1, "seeds": 1, "gamma_neg": 3.0}
    assert CONTENDERS["sct"].settings["hidden_size"] == 16
    assert run_benchmark("ablation", output_dir=tmp_path / "out", hidden_size=24, **options) == 0
    used = pd.read_parquet(tmp_path / "out" / "runs.parquet").set_index("variant")["arguments"].map(json.loads)
    assert [used[name]["hidden_size"] for name in (BASE, "hidden size 128")] == [24, 128]
    assert [used[name]["set"]["gamma_neg"] for name in (BASE, "hidden size 128")] == [3.0, 3.0]
    assert used[BASE]["set"]["encoder_ffn_dim"] == 16  # the contender's
    assert f"1 thread(s) each, on {cpu_name()}" in (tmp_path / "out" / "ablation.md").read_text()


def test_variants_that_a_peer_head_knows_nothing_of_are_left_out(
    tmp_path: Path, run_benchmark: Benchmark, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["no prototypes", "random vectors", "gamma_neg 1", "positive weights", "transport loss 1"]
    options: dict[str, Any] = {"variants": asked, "folds": 1, "seeds": 1, "contender": "linear"}
    assert run_benchmark("ablation", output_dir=tmp_path / "out", **options) == 0
    assert set(pd.read_parquet(tmp_path / "out" / "runs.parquet")["variant"]) == {
        *(BASE, "gamma_neg 1", "positive weights")
    }
    told = "left out, since head linear knows nothing of them: no prototypes, random vectors, transport loss 1"
    assert told in capsys.readouterr().out


def test_groups_of_labels_cannot_be_mixed(tmp_path: Path, run_benchmark: Benchmark) -> None:
    options: dict[str, Any] = {"output_dir": tmp_path / "out", "variants": ["gamma_neg 1"], "folds": 1, "seeds": 1}
    assert run_benchmark("ablation", frequency_groups="thirds", **options) == 0
    with pytest.raises(InputError, match=r"other settings: frequency_groups \('thirds' there, '2,5' here\)"):
        run_benchmark("ablation", frequency_groups="2,5", **options)


def test_every_variant_can_be_used() -> None:
    base = Arguments(DataArguments(), ModelArguments(), TrainArguments())
    for settings in (VARIANTS | FURTHER_VARIANTS).values():
        changed = with_settings(base, settings)
        assert {name: value_of(changed, name) for name in settings} == settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variants": ["nothing"]}, "variants has 'nothing': choose from no transport loss"),
        ({"together": ["nothing"]}, "together has 'nothing'"),
        (
            {"together": ["guidance none", "temperature fixed"]},
            "'temperature fixed', which sets head",
        ),
        ({"folds": 0}, "folds is 0"),
        ({"contender": "nobody"}, "contender has 'nobody': choose from sct"),
        ({"holdout": 0}, "holdout is 0: variants are compared on a held-out part"),
        ({"head": "linear"}, "head is set by the benchmark itself: leave it out; give --contender"),
        ({"max_train_samples": 5}, "max_train_samples is set by the benchmark itself: leave it out; give --train_s"),
    ],
)
def test_what_cannot_be_used(
    tmp_path: Path, run_benchmark: Benchmark, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "train", pytest.fail)
    with pytest.raises(InputError, match=message):
        run_benchmark("ablation", output_dir=tmp_path / "out", **options)
