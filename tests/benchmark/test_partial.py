"""The sweep over known labels: which runs it makes, and that its table says what they measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sct_hf.benchmark import cells
from sct_hf.benchmark.partial import summary
from sct_hf.errors import InputError

Benchmark = Callable[..., int]


def measured(folder: Path) -> float:
    return 100 * json.loads((folder / "metrics.json").read_text())["mAP"]


def test_a_sweep_and_its_continuation(
    tmp_path: Path, run_benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {
        "output_dir": out,
        "proportions": [0.6, 1],
        "treatments": ["ignore", "recover"],
        "learning_rate": 0.01,
    }
    assert run_benchmark("partial", seeds=1, **options) == 0
    train, trained = cells.train, []

    def counted(arguments: Any) -> dict[str, Any]:
        trained.append((arguments.data.known_proportion, arguments.to_dict()["unknown_labels"], arguments.train.seed))
        return train(arguments)

    monkeypatch.setattr(cells, "train", counted)
    assert run_benchmark("partial", seeds=2, **options) == 0
    assert sorted(trained) == sorted(
        [(0.6, "ignore", 1), (0.6, "recover", 1), (1.0, "ignore", 1), (1.0, "ignore", 1), (1.0, "recover", 1)]
    )  # all known, and single positives twice
    rows = pd.read_parquet(out / "runs.parquet")
    assert len(rows) == 10
    assert set(rows["scored_on"]) == {"test"}
    assert set(rows["train_images"]) == {30}
    for _, row in rows.iterrows():
        stored = np.load(out / row["folder"] / "known_labels.npz") if row["known"] != "all known" else None
        if row["single_positive"]:
            assert (stored["known"].sum(axis=1) <= 1).all()
        elif stored is not None:
            assert 0.4 < stored["known"].mean() < 0.8
    table = pd.read_parquet(out / "partial.parquet").set_index("unknown labels")
    assert list(table.index) == ["ignored", "recovered"]
    runs = out / "runs" / "all"
    for title, name in (("ignored", "ignore"), ("recovered", "recover")):
        for column, folder in (("60 %", "60"), ("single positive", "single_positive")):
            values = [measured(runs / folder / name / f"seed{seed}") for seed in (0, 1)]
            assert table.loc[title, column] == round(np.mean(values), 2)
            assert table.loc[title, f"± {column}"] == round(np.std(values, ddof=1), 2)
        assert table.loc[title, "average"] == table.loc[title, "60 %"]
    assert table.loc["ignored", "all known"] > 0
    assert pd.isna(table.loc["recovered", "all known"])
    assert (out / "partial_all.png").stat().st_size > 10_000


def test_the_average_is_of_the_proportions_that_all_have() -> None:
    figures = {
        ("ignore", "10 %"): [0.5, 0.6],
        ("ignore", "50 %"): [0.7, 0.8],
        ("ignore", "90 %"): [0.9],
        ("ignore", "single positive"): [0.1],
        ("blend", "10 %"): [0.58, 0.66],
        ("blend", "50 %"): [0.72, 0.80],
    }
    rows = [
        {"variant": treatment, "known": known, "seed": seed, "mAP": value, "train_size": "all", "train_images": 9}
        for (treatment, known), values in figures.items()
        for seed, value in enumerate(values)
    ]
    ignore, blend = summary(rows)
    assert (ignore["average"], blend["average"]) == (65.0, 69.0)
    assert (ignore["Δ average"], blend["Δ average"]) == (None, 4.0)
    assert (ignore["90 %"], blend["90 %"], blend["single positive"]) == (90.0, None, None)
    assert ignore["± 10 %"] == 7.07


def test_runs_with_all_labels_known_leave_the_average_alone() -> None:
    """They are runs of "ignore", whether that is among the treatments or not."""
    figures = {("ignore", "all known"): 0.9, ("recover", "10 %"): 0.5, ("blend", "10 %"): 0.6, ("blend", "50 %"): 0.8}
    rows = [
        {"variant": treatment, "known": known, "seed": 0, "mAP": value, "train_size": "all", "train_images": 9}
        for (treatment, known), value in figures.items()
    ]
    assert [line["average"] for line in summary(rows)] == [None, 50.0, 60.0]


def test_settings_are_tried_on_a_part_held_out(tmp_path: Path, run_benchmark: Benchmark) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {"proportions": 0.5, "with_single_positive": False, "treatments": "negative", "seeds": 1}
    assert run_benchmark("partial", output_dir=out, eval_split="held_out", eval_file="absent.jsonl", **options) == 0
    rows = pd.read_parquet(out / "runs.parquet")
    assert rows["scored_on"].tolist() == ["train[holdout]"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"treatments": ["forget"]}, "treatments has 'forget': choose from ignore"),
        ({"seeds": 0}, "seeds is 0"),
        ({"proportions": [0.5, 1.5]}, "known_proportion is 1.5"),
        ({"contender": "nobody"}, "contender has 'nobody': choose from sct"),
        ({"contender": "linear"}, "treatments has 'blend', .* leave it out for contender linear"),
        (
            {"proportions": [1.0], "with_single_positive": False},
            "in which nothing is unknown",
        ),
        ({"known_proportion": 0.5}, "known_proportion is set by the benchmark itself: leave it out; give --prop"),
    ],
)
def test_what_cannot_be_used(
    tmp_path: Path, run_benchmark: Benchmark, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "train", pytest.fail)
    with pytest.raises(InputError, match=message):
        run_benchmark("partial", output_dir=tmp_path / "out", **options)
