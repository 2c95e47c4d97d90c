"""`sct-hf learning-curve` on tiny images: what trains and is scored, resuming, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sct_hf.errors import InputError
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.training import learning_curve as module
from sct_hf.training.arguments import Arguments
from sct_hf.training.curve import format_curve
from sct_hf.training.learning_curve import curve_of, learning_curve, scored_labels
from sct_hf_cli import run
from tests.hostile import HOSTILE_NAMES
from tests.page_checks import harmless_page

Make = Callable[..., Arguments]
CACHED = {"freeze_backbone": True, "cache_features": True, "cached_views": 1, "epochs": 1, "batch_size": 2}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let thirty images do."""
    monkeypatch.setattr(module, "_LEAST", 3)


def test_the_command_writes_a_curve_and_resumes_after_a_kill(
    small: None, words: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    options = words(output_dir=tmp_path / "out", cache_dir=tmp_path / "cache", **CACHED)
    trained: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    real = module.train_and_score

    def counted(arguments: Any, run_data: Any, training: Any, scored: Any, folder: Path, signals: Any) -> Any:
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append((tuple(training.image_ids), tuple(scored.image_ids)))
        return real(arguments, run_data, training, scored, folder, signals)

    monkeypatch.setattr(module, "train_and_score", counted)
    with pytest.raises(KeyboardInterrupt):
        run("learning-curve", *options, "--folds", "2")
    assert not (tmp_path / "out" / "learning_curve.json").exists()
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    assert len(first) == 4
    monkeypatch.setattr(module, "train_and_score", real)
    assert run("learning-curve", *options, "--folds", "2") == 0
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    assert len(after) == 6
    assert first.items() <= after.items()
    for quarter, half, whole in [trained[:3]]:
        assert quarter[1] == half[1] == whole[1]
        assert set(quarter[0]) < set(half[0]) < set(whole[0])
        assert not set(whole[0]) & set(whole[1])
    curve = json.loads((tmp_path / "out" / "learning_curve.json").read_text(encoding="utf-8"))
    assert curve["images"] == 30
    assert curve["sizes"] == [4, 8, 15]
    assert curve["twice"]["size"] == 60
    assert "twice as many images would give" in capsys.readouterr().out
    harmless_page(tmp_path / "out" / "learning_curve.html")
    assert (tmp_path / "out" / "learning_curve.png").stat().st_size > 5000


def test_scores_are_the_mean_over_folds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folds = np.arange(40) % 2
    targets = rng.integers(0, 2, (40, 3))
    logits = rng.normal(size=(3, 40, 3))
    curve = curve_of(logits, targets, folds, np.array([5.0, 10.0, 20.0]), ["a", "b", "c"], [], 0)
    by_hand = [
        np.mean([multilabel_metrics(part[folds == fold], targets[folds == fold])["mAP"] for fold in (0, 1)])
        for part in logits
    ]
    assert curve.scores == pytest.approx(by_hand)
    assert (curve.now.size, curve.twice.size) == (40, 80)


def test_a_label_must_be_in_every_fold() -> None:
    targets = np.array([[1, 1, 1], [0, 0, 1], [1, 0, 1], [0, -1, 1]])
    assert scored_labels(targets, np.array([0, 0, 1, 1])).tolist() == [True, False, False]


def test_hostile_names_break_no_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    count = len(HOSTILE_NAMES)
    targets, logits = rng.integers(0, 2, (60, count)), rng.normal(size=(3, 60, count))
    sizes = np.array([12.0, 24.0, 48.0])
    curve = curve_of(logits, targets, np.arange(60) % 5, sizes, HOSTILE_NAMES, HOSTILE_NAMES, 0)
    module.write_curve_page(curve, tmp_path / "page.html")
    harmless_page(tmp_path / "page.html")
    assert f"{count} labels with too few images" in format_curve(curve)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "there are 30, and a curve with 5 folds takes at least 50"),
        ({"cache_features": False}, "cache_features is not set"),
        ({"shots": 2}, "shots is 2"),
    ],
)
def test_what_gives_no_curve_is_refused(tiny: Make, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    arguments = tiny(output_dir=tmp_path / "out", cache_dir=tmp_path / "cache", **CACHED | options)
    with pytest.raises(InputError, match=message):
        learning_curve(arguments)
