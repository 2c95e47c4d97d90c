"""Out-of-fold scores: who trains, who is scored, and going on after a kill."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sct_hf.errors import InputError
from sct_hf.training import folds as folds_module
from sct_hf.training.accelerators import accelerator_of
from sct_hf.training.arguments import Arguments
from sct_hf.training.folds import Scored, deal, deal_images, out_of_fold, train_and_score
from sct_hf.training.parsing import parse
from sct_hf.training.run_data import RunData, load_run_data
from sct_hf.training.stopping import StopSignals

Make = Callable[..., Arguments]
CACHED = {"freeze_backbone": True, "cache_features": True, "cached_views": 2, "holdout": 0}


def run_of(tiny: Make, folder: Path, **options: Any) -> tuple[Arguments, RunData]:
    arguments = tiny(output_dir=folder / "run", cache_dir=folder / "cache", **CACHED | options)
    return arguments, load_run_data(arguments.data, arguments.train.seed)


def score(arguments: Arguments, run_data: RunData, folds: int) -> Scored:
    accelerator = accelerator_of(arguments)
    with StopSignals(accelerator) as signals:
        folder = Path(arguments.train.output_dir)
        return out_of_fold(arguments, run_data, folder, folds=folds, accelerator=accelerator, signals=signals)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 5), st.integers(6, 40), st.integers(1, 4), st.integers(0, 99))
def test_folds_are_equal_and_share_the_rarest_label(folds: int, count: int, labels: int, seed: int) -> None:
    targets = (np.random.default_rng(seed).random((count, labels)) < 0.3).astype(np.int8)
    dealt = deal(targets, folds, seed)
    sizes = np.bincount(dealt, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    shown = targets.sum(0)
    of_rarest = np.bincount(dealt[targets[:, shown.argmin()] == 1], minlength=folds)
    assert of_rarest.max() - of_rarest.min() <= 1
    assert np.array_equal(dealt, deal(targets, folds, seed))


def test_copies_of_an_image_are_in_one_fold(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), []
    for number in range(30):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        for copy in range(1 + number % 3):
            Image.fromarray(pixels).save(tmp_path / f"{number}-{copy}.png")
            rows.append({"image": f"{number}-{copy}.png", "labels": ["red"] if number % 2 else ["blue"]})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = parse([f"--data_dir={tmp_path}", "--dataset=jsonl", "--eval_split=held_out"]).data
    images = load_run_data(data, 0).all_training
    dealt = deal_images(images, 3, 0)
    folds_of: dict[str, set[int]] = {}
    for fold, name in zip(dealt.tolist(), images.image_ids, strict=True):
        folds_of.setdefault(name.split("-")[0], set()).add(fold)
    assert [len(folds) for folds in folds_of.values()] == [1] * 30
    assert np.bincount(dealt).min() > len(dealt) / 5


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(InputError, match="folds is 4, for 3 images: give from 2 to 3"):
        deal(np.zeros((3, 1)), 4, 0)


def test_every_image_is_scored_by_a_model_that_did_not_see_it(tiny: Make, tmp_path: Path) -> None:
    arguments, run_data = run_of(tiny, tmp_path)
    found = score(arguments, run_data, 3)
    assert list(found.image_ids) == list(run_data.training.image_ids)
    assert np.array_equal(found.targets, run_data.training.targets())
    fold = 1  # again by hand, from the parts that the folds name
    out = np.flatnonzero(found.folds == fold)
    accelerator = accelerator_of(arguments)
    with StopSignals(accelerator) as signals:
        alone = train_and_score(
            arguments,
            run_data,
            run_data.training.select(np.flatnonzero(found.folds != fold)),
            run_data.training.select(out),
            tmp_path / "alone",
            signals,
        )
    assert np.array_equal(alone.logits, found.logits[out])
    assert not (tmp_path / "run" / "folds").exists()
    assert score(arguments, run_data, 3).logits.tobytes() == found.logits.tobytes()  # read back


def test_labels_of_the_scored_fold_change_no_score_of_it(tiny: Make, tmp_path: Path) -> None:
    arguments, run_data = run_of(tiny, tmp_path)
    before = score(arguments, run_data, 2)
    marks = run_data.training.marks.copy()
    changed = np.flatnonzero(before.folds == 0)
    marks[changed] = 1 - np.maximum(marks[changed], 0)
    images = replace(run_data.training, marks=marks)
    accelerator = accelerator_of(arguments)
    with StopSignals(accelerator) as signals:
        after = train_and_score(
            arguments,
            replace(run_data, all_training=images, training=images),
            images.select(np.flatnonzero(before.folds != 0)),
            images.select(changed),
            tmp_path / "changed",
            signals,
        )
    assert np.array_equal(after.logits, before.logits[changed])


def test_a_stopped_call_goes_on(tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, run_data = run_of(tiny, tmp_path)
    whole = score(arguments, run_data, 2)
    shutil.rmtree(tmp_path / "run")
    trained: list[str] = []
    real = folds_module.Run.fit

    def stops_in_the_second(run: Any) -> None:
        trained.append(run.folder.path.parent.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        real(run)

    monkeypatch.setattr(folds_module.Run, "fit", stops_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        score(arguments, run_data, 2)
    assert score(arguments, run_data, 2).logits.tobytes() == whole.logits.tobytes()
    assert trained == ["1-of-2", "2-of-2", "2-of-2"]


def test_other_labels_are_not_mixed_with_parts_of_a_killed_call(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, run_data = run_of(tiny, tmp_path)
    real = folds_module.train_and_score

    def stops_in_the_second(*given: Any) -> Scored:
        if given[4].name == "2-of-2":
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(folds_module, "train_and_score", stops_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            score(arguments, run_data, 2)
    marks = run_data.training.marks.copy()
    marks[0] = 1 - np.maximum(marks[0], 0)
    images = replace(run_data.training, marks=marks)
    changed = replace(run_data, all_training=images, training=images)
    mixed = score(arguments, changed, 2)
    shutil.rmtree(tmp_path / "run")
    alone = score(arguments, changed, 2)
    assert mixed.logits.tobytes() == alone.logits.tobytes()
    assert np.array_equal(mixed.targets, images.targets())
    with pytest.raises(InputError, match="scores of other images or labels"):
        score(arguments, run_data, 2)


def test_a_run_without_cached_maps_is_refused(tiny: Make, tmp_path: Path) -> None:
    arguments, run_data = run_of(tiny, tmp_path, cache_features=False)
    with pytest.raises(InputError, match="cache_features is not set"):
        score(arguments, run_data, 2)


def test_a_damaged_file_and_other_images_are_refused(tiny: Make, tmp_path: Path) -> None:
    arguments, run_data = run_of(tiny, tmp_path)
    path = tmp_path / "run" / "out_of_fold.parquet"
    path.parent.mkdir()
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"out_of_fold.parquet cannot be read"):
        score(arguments, run_data, 2)
    Scored(["other"], ["a"], np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int8), np.zeros(1, int)).save(path)
    with pytest.raises(InputError, match="scores of other images or labels"):
        score(arguments, run_data, 2)
