"""An audit of a tiny run: every image is scored by a model that did not see it, and every file can be used."""

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sct_hf.cli.audit import main
from sct_hf.cli.relabel import main as relabel
from sct_hf.curation import audit as audit_module
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request
from sct_hf.data.tables import list_table
from sct_hf.errors import InputError
from sct_hf.training.loop import train
from sct_hf.training.parsing import parse
from tests.words import command_words

COLOURS = {"red": (255, 0, 0), "=green": (0, 255, 0), "<b>blue</b>": (0, 0, 255)}


def write_images(folder: Path, count: int = 36) -> Path:
    """Blocks of colours and their table; the last image is the first again, with another label."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        pixels = rng.integers(0, 90, (40, 40, 3), dtype=np.uint8)
        labels = [name for name in COLOURS if rng.random() < 0.4] or ["red"]
        for place, name in enumerate(labels):
            pixels[12 * place : 12 * place + 11, 5:35] = COLOURS[name]
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append([f"{number}.png", "|".join(labels)])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "labels"], *rows])
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The folder of a finished run that holds images out, and its table."""
    folder = tmp_path_factory.mktemp("audit")
    table = write_images(folder)
    options: dict[str, Any] = {
        **{"dataset": "csv", "train_file": table, "eval_split": "held_out", "holdout": 0.25, "num_workers": 0},
        **{"backbone": "test_resnet", "backbone_weights": "none", "image_size": 32, "label_encoder": "random:8"},
        **{"hidden_size": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "epochs": 1, "batch_size": 8},
        **{"report_to": "none", "figures": False, "cpu_threads": 1, "freeze_backbone": True, "cache_features": True},
        **{"cached_views": 1, "cache_dir": folder / "cache", "output_dir": folder / "run"},
    }
    train(parse(command_words(options)))
    assert main([str(folder / "run"), "--folds=2", "--most=40", "--shown=5"]) == 0
    yield folder / "run", table
    shutil.rmtree(folder)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_suspects_of_all_images(run: tuple[Path, Path]) -> None:
    folder, table = run
    rows = rows_of(folder / "audit" / "audit.csv")
    assert 0 < len(rows) <= 40 + 36
    labels = {row["image"]: row["labels"].split("|") for row in rows_of(table)}
    for rank, row in enumerate(rows, start=1):
        name = row["label"].removeprefix("'")
        assert row["rank"] == str(rank)
        assert row["given"] == ("present" if name in labels[row["image"]] else "absent")
        assert row["suggested"] == ("absent" if name in labels[row["image"]] else "present")
        assert row["decision"] == ""
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert not any(row["label"].startswith("=") for row in rows)
    (part,) = (folder / "audit" / "held_out").glob("*/out_of_fold.parquet")
    held_out = {line["image_id"] for line in _parquet(part)}
    trained = {line["image_id"] for line in _parquet(folder / "out_of_fold.parquet")}
    assert len(held_out) == 9
    assert held_out | trained == set(labels)
    assert not held_out & trained


def _parquet(path: Path) -> list[dict[str, Any]]:
    return pd.read_parquet(path).to_dict("records")


def test_page_holds_pictures_and_no_markup_of_names(run: tuple[Path, Path]) -> None:
    page = (run[0] / "audit" / "audit.html").read_text(encoding="utf-8")
    assert len(page) < 10_000_000
    assert page.count("data:image/jpeg;base64,") >= 5 * 3
    assert page.count('<figcaption dir="auto">where the model sees') == 5
    assert "<b>blue</b>" not in page
    assert "&lt;b&gt;blue&lt;/b&gt;" in page


def test_tasks_propose_the_suggested_labels(run: tuple[Path, Path]) -> None:
    folder, table = run
    labels = {row["image"]: set(row["labels"].split("|")) for row in rows_of(table)}
    for row in rows_of(folder / "audit" / "audit.csv"):
        labels[row["image"]] ^= {row["label"].removeprefix("'")}
    for task in json.loads((folder / "audit" / "tasks.json").read_text(encoding="utf-8")):
        image = task["data"]["image"].rpartition("=")[2]
        proposed = {name for result in task["predictions"][0]["result"] for name in result["value"]["choices"]}
        assert proposed == labels[image]


def test_decisions_reach_the_table_and_the_copy_of_a_run(run: tuple[Path, Path], tmp_path: Path) -> None:
    folder, table = run
    copy, decided = tmp_path / "labels.csv", tmp_path / "audit.csv"
    shutil.copy(table, copy)
    for image in table.parent.glob("*.png"):
        shutil.copy(image, tmp_path)
    rows = rows_of(folder / "audit" / "audit.csv")
    chosen = rows[:3]
    for row in chosen:
        row["decision"] = "yes"
    with decided.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert relabel([str(copy), str(decided)]) == 0
    assert relabel([str(folder), str(decided)]) == 0
    expected = {row["image"]: set(row["labels"].split("|")) for row in rows_of(table)}
    for row in chosen:
        expected[row["image"]] ^= {row["label"].removeprefix("'")}
    for file in (copy, tmp_path / "relabelled.csv"):
        problems = Problems()
        found = list_table(Request("csv", "train", files=(file,)), problems, format="csv")
        assert not problems.found
        assert {Path(record.image).name: set(record.labels) for record in found.records} == expected
        assert all(record.path is not None and record.path.is_file() for record in found.records)


def test_decisions_are_never_overwritten(run: tuple[Path, Path], tmp_path: Path) -> None:
    rows = (run[0] / "audit" / "audit.csv").read_text(encoding="utf-8").splitlines()
    decided = "\r\n".join([rows[0], f"{rows[1]}unsure", *rows[2:]])
    (tmp_path / "audit.csv").write_text(decided, encoding="utf-8", newline="")
    with pytest.raises(InputError, match=r"audit\.csv, which holds decisions \(1\): apply them by sct-hf relabel"):
        main([str(run[0]), f"--output_dir={tmp_path}"])
    assert (tmp_path / "audit.csv").read_bytes().decode() == decided


def test_without_cleanlab_its_ranks_are_left_out_in_one_line(
    run: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    monkeypatch.setattr(audit_module.AuditPage, "write", lambda *_: None)
    shutil.copytree(run[0] / "audit" / "held_out", tmp_path / "held_out")
    assert main([str(run[0]), f"--output_dir={tmp_path}"]) == 0
    assert 'cleanlab is not installed, so its ranking is left out: pip install "sct_hf[audit]"' in (
        capsys.readouterr().out.splitlines()
    )
    with_it, without = (rows_of(folder / "audit.csv") for folder in (run[0] / "audit", tmp_path))
    assert any(row["cleanlab"] for row in with_it)
    assert not any(row.pop("cleanlab") for row in without)
    assert [{key: row[key] for key in row if key != "cleanlab"} for row in with_it[: len(without)]] == without[
        : len(with_it)
    ]


def test_labels_that_changed_since_training_are_refused(run: tuple[Path, Path], tmp_path: Path) -> None:
    before = run[1].read_bytes()
    run[1].write_bytes(before.replace(b"red", b"=green|red", 1))
    try:
        with pytest.raises(InputError, match="of other images or labels than the data has now: train again"):
            main([str(run[0]), f"--output_dir={tmp_path / 'new'}"])
    finally:
        run[1].write_bytes(before)


def test_bad_options(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no folder of a training run: training_args\.json cannot be read"):
        main([str(tmp_path)])
    with pytest.raises(InputError, match="shown is 0: give a whole number from 1 to 100"):
        main([str(tmp_path), "--shown=0"])
