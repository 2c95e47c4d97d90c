import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sct_hf.benchmark import cells
from sct_hf.benchmark.contenders import CONTENDERS
from sct_hf.errors import InputError
from sct_hf.training import run, run_data
from sct_hf.training.arguments import Arguments
from sct_hf.training.run_folder import RunFolder

Benchmark = Callable[..., int]
OPTIONS: dict[str, Any] = {"heads": ["linear", "sct"], "seeds": 2}
MEASURED = ["seconds_an_epoch", "run_seconds", "peak_memory_mb", "train_seconds", "arguments"]


class KilledError(BaseException):
    pass


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the runs that are trained."""
    names: list[str] = []
    train = cells.train

    def note(arguments: Arguments) -> dict[str, Any]:
        names.append(arguments.train.output_dir)
        return train(arguments)

    monkeypatch.setattr(cells, "train", note)
    return names


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often which split is scored, or read to be."""
    splits: Counter[str] = Counter()
    evaluate, read = run.evaluate_model, run_data.load_evaluation_images

    def note(*args: Any, description: str, **options: Any) -> Any:
        splits[f"scored {description}"] += 1
        return evaluate(*args, description=description, **options)

    def note_read(*args: Any) -> Any:
        splits["read"] += 1
        return read(*args)

    monkeypatch.setattr(run, "evaluate_model", note)
    monkeypatch.setattr(run_data, "load_evaluation_images", note_read)
    return splits


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def test_search_choice_and_table(
    tmp_path: Path, run_benchmark: Benchmark, trained: list[str], scored: Counter[str]
) -> None:
    assert run_benchmark("accuracy", output_dir=tmp_path / "out", **OPTIONS) == 0
    # 2 settings of 2 heads on the held-out part, 2 seeds of 2 heads on the evaluation split, each scored once; the
    # evaluation split is read by the final runs and to prepare the maps.
    assert len(trained) == 8
    assert scored == {"scored train[holdout]": 4, "scored test": 4, "read": 5}

    rows = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    assert Counter(zip(rows["stage"], rows["scored_on"], strict=True)) == {
        ("search", "train[holdout]"): 4,
        ("final", "test"): 4,
    }
    assert rows["used_to_choose"].tolist() == [True] * 4 + [False] * 4
    table = pd.read_parquet(tmp_path / "out" / "accuracy.parquet").set_index("head")
    text = (tmp_path / "out" / "accuracy.md").read_text(encoding="utf-8")
    for head, title in (("linear", "linear, ASL"), ("sct", "SCT")):
        searched = {
            rate: metrics(tmp_path / "out" / "search" / "all" / head / f"learning_rate={rate}" / "fold0")["mAP"]
            for rate in ("0.0001", "0.1" if head == "linear" else "0.01")
        }
        best = max(searched, key=lambda rate: searched[rate])
        assert searched[best] != min(searched.values())
        folders = [tmp_path / "out" / "final" / "all" / head / f"learning_rate={best}" / f"seed{s}" for s in (0, 1)]
        finals = [metrics(folder) for folder in folders]
        of_head = rows[rows["contender"] == head]
        assert of_head[of_head["stage"] == "search"].set_index("learning_rate")["chosen"].to_dict() == {
            float(rate): rate == best for rate in searched
        }
        assert set(of_head[of_head["stage"] == "final"]["chosen_by_held_out_mAP"]) == {searched[best]}
        line = table.loc[title]
        for metric in ("mAP", "CF1", "OF1"):
            values = [100 * final[metric] for final in finals]
            assert line[f"{metric} %"] == round(np.mean(values), 2)
            assert line[f"± {metric}"] == round(np.std(values, ddof=1), 2)
            assert f"{np.mean(values):.2f}" in text
        assert (line["n"], line["train images"]) == (2, 30)
        assert line["held-out mAP %"] == round(100 * searched[best], 2)
        for folder, seed in zip(folders, (0, 1), strict=True):
            used = json.loads((folder / "training_args.json").read_text())["arguments"]
            assert (used["seed"], used["holdout"], used["learning_rate"]) == (seed, 0, float(best))
            assert {path.name for path in folder.iterdir()} >= {"metrics.json", "predictions.parquet"}
            assert not (folder / "model.safetensors").exists()
    assert Image.open(tmp_path / "out" / "cost_all.png").width > 500
    assert (tmp_path / "out" / "runs.md").read_text().count("\n| search |") == 4


def test_killed_between_runs_and_resumed(
    tmp_path: Path, run_benchmark: Benchmark, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_benchmark("accuracy", output_dir=tmp_path / "whole", **OPTIONS)
    trained.clear()
    noting = cells.train

    def kill_the_sixth(arguments: Arguments) -> dict[str, Any]:
        if len(trained) == 5:
            raise KilledError
        return noting(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(cells, "train", kill_the_sixth)
        with pytest.raises(KilledError):
            run_benchmark("accuracy", output_dir=tmp_path / "killed", **OPTIONS)
    assert run_benchmark("accuracy", output_dir=tmp_path / "killed", **OPTIONS) == 0
    assert len(trained) == len(set(trained)) == 8
    whole, killed = (
        pd.read_parquet(tmp_path / name / "runs.parquet").drop(columns=MEASURED) for name in ("whole", "killed")
    )
    pd.testing.assert_frame_equal(whole, killed)

    assert run_benchmark("accuracy", output_dir=tmp_path / "killed", **OPTIONS) == 0
    assert len(trained) == 8
    with pytest.raises(InputError, match=r"holds a run with other settings: ema_decay \(0.5 there, 0.9 here\)"):
        run_benchmark("accuracy", output_dir=tmp_path / "killed", **OPTIONS, ema_decay=0.9)


def test_an_interrupted_run_of_other_settings_is_named_before_anything_runs(
    tmp_path: Path, run_benchmark: Benchmark, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "out" / "search" / "all" / "sct" / "learning_rate=0.01" / "fold0"
    nothing = {"mAP": None, "split": "train"}

    def interrupt(arguments: Arguments) -> dict[str, Any]:
        RunFolder(arguments).claim()
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(cells, "train", lambda a: interrupt(a) if a.train.output_dir == str(begun) else nothing)
        with pytest.raises(KilledError):
            run_benchmark("accuracy", output_dir=tmp_path / "out", **OPTIONS)
    message = rf"{begun} holds a run with other settings: .* remove that folder to run it again"
    with pytest.raises(InputError, match=message):
        run_benchmark("accuracy", output_dir=tmp_path / "out", **OPTIONS, ema_decay=0.9)
    assert trained == []


def test_all_machines_are_named() -> None:
    here = {"jobs": 2, "cpu_threads": 1, "gpu": None, "cpu": "a CPU", "torch": "2.11"}
    there = here | {"jobs": 1, "gpu": "a GPU"}
    assert cells.machines([here, there, here]) == (
        "2 run(s) at a time, 1 thread(s) each, on a CPU, torch 2.11. "
        "1 run(s) at a time, 1 thread(s) each, on a GPU, torch 2.11."
    )


def test_a_run_that_fails_leaves_the_others(
    tmp_path: Path, run_benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that diverges is not chosen; a final run that fails is named, and the table has the rest."""
    train = cells.train

    def fail(arguments: Arguments) -> dict[str, Any]:
        if "learning_rate=0.1/fold1" in arguments.train.output_dir or "seed1" in arguments.train.output_dir:
            raise InputError("the loss is not finite")
        return train(arguments)

    monkeypatch.setattr(cells, "train", fail)
    assert run_benchmark("accuracy", output_dir=tmp_path / "out", heads=["linear"], seeds=2, search_folds=2) == 2
    printed = capsys.readouterr().out
    assert "search/all/linear/learning_rate=0.1/fold1: FAILED: the loss is not finite" in printed
    assert "final/all/linear/learning_rate=0.0001/seed1: FAILED: the loss is not finite" in printed
    assert pd.read_parquet(tmp_path / "out" / "accuracy.parquet")["n"].tolist() == [1]
    rows = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    found = rows[rows["stage"] == "search"].groupby("learning_rate")["mAP"].mean()
    assert found[0.1] > found[1e-4]  # by the one fold it has it would have been chosen


def test_train_sizes_without_a_search_and_from_another_comparison(
    tmp_path: Path, run_benchmark: Benchmark, trained: list[str]
) -> None:
    options: dict[str, Any] = {
        "heads": ["linear"],
        "seeds": 2,
        "search_folds": 0,
        "train_sizes": ["12:2:4", "all:1:8"],
    }
    assert run_benchmark("accuracy", output_dir=tmp_path / "frozen", keep_weights=True, **options) == 0
    rows = pd.read_parquet(tmp_path / "frozen" / "runs.parquet")
    assert rows[["train_size", "train_images", "epochs", "batch_size", "seed"]].to_numpy().tolist() == [
        *[["12", 12, 2, 4, 0], ["12", 12, 2, 4, 1], ["all", 30, 1, 8, 0], ["all", 30, 1, 8, 1]],
    ]
    assert set(rows["learning_rate"]) == {2e-3}  # of the recipe
    assert (tmp_path / "frozen" / "train_sizes.png").exists()
    # All sizes share the maps of both splits; a seed has its own backbone here, since it has random weights.
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2 * 2

    tuned = {"recipe": "benchmark_finetune", "init_from": tmp_path / "frozen", "output_dir": tmp_path / "tuned"}
    assert run_benchmark("accuracy", **options | {"train_sizes": ["all:1:8"]}, **tuned) == 0
    used = [json.loads((Path(name) / "training_args.json").read_text())["arguments"] for name in trained[-2:]]
    for seed, arguments in enumerate(used):
        assert arguments["init_checkpoint"] == str(tmp_path / "frozen" / rows["folder"].tolist()[2 + seed])
        assert not arguments["freeze_backbone"]
    with pytest.raises(
        InputError,
        match="no trained model of sct, train size all, seed 0: run that comparison in a new output_dir",
    ):
        run_benchmark("accuracy", **options | {"heads": ["sct"], "train_sizes": ["all:1:8"]}, **tuned)


def test_another_comparison_hands_on_what_it_chose_but_rates(
    tmp_path: Path, run_benchmark: Benchmark, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"learning_rate": (1e-2,), "weight_decay": (0.2,), "transport_loss_weight": (0.7,)}
    monkeypatch.setitem(CONTENDERS, "sct", replace(CONTENDERS["sct"], grid=grid))
    options: dict[str, Any] = {"heads": ["sct"], "seeds": 1, "train_sizes": ["all:1:8"]}
    assert run_benchmark("accuracy", output_dir=tmp_path / "frozen", keep_weights=True, **options) == 0
    tuned = {"recipe": "benchmark_finetune", "init_from": tmp_path / "frozen", "output_dir": tmp_path / "tuned"}
    assert run_benchmark("accuracy", search_folds=0, **options, **tuned) == 0
    used = json.loads((Path(trained[-1]) / "training_args.json").read_text())["arguments"]
    assert (used["transport_loss_weight"], used["learning_rate"], used["weight_decay"]) == (0.7, 3e-4, 1e-2)
    rows = pd.read_parquet(tmp_path / "tuned" / "runs.parquet")
    assert rows[["setting", "chosen"]].to_numpy().tolist() == [["transport_loss_weight=0.7", True]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": ["nobody"]}, "heads has 'nobody': choose from sct, "),
        ({"seeds": 0}, "seeds is 0"),
        ({"search_folds": -1}, "search_folds is -1"),
        ({"jobs": -1}, "jobs is -1"),
        ({"train_sizes": ["many"]}, "train_sizes has 'many'"),
        ({"train_sizes": ["31"]}, "there are 30 images"),
        ({"holdout": 0}, "holdout is 0: settings are searched on a part held out"),
        ({"eval_split": "held_out"}, "eval_split is 'held_out': accuracy chooses"),
        ({"learning_rate": 0.1}, r"learning_rate is set by the benchmark itself: leave it out; linear, ASL has \(0"),
        ({"head": "csra"}, "head is set by the benchmark itself: leave it out; linear, ASL has linear"),
        ({"init_from": "/nowhere", "search_folds": 0}, "has no runs.parquet"),
        ({"dataset": "voc2007", "data_dir": "/nowhere"}, "the images cannot be prepared: .*/nowhere"),
    ],
)
def test_what_cannot_be_used(
    tmp_path: Path, run_benchmark: Benchmark, options: dict[str, Any], message: str, trained: list[str]
) -> None:
    with pytest.raises(InputError, match=message):
        run_benchmark("accuracy", **{"output_dir": tmp_path / "out", "heads": ["linear"], "seeds": 1} | options)
    assert trained == []
