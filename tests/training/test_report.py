"""The report's files, read back by other means, and its tables."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from sct_hf import InputError, build_model, encode_labels, multilabel_metrics
from sct_hf.escaping import from_csv_cell
from sct_hf.metrics.frequency import frequency_groups, group_metrics
from sct_hf.training.report import Predictions, format_table, label_table, write_json, write_report, write_scores
from tests.hostile import HOSTILE_NAMES

LABELS = ["dog", "cat", "dining table", "boat", "unseen"]
HISTORY = [{"epoch": 1, "step": 5, "loss": 1.0, "losses/semantic": 0.5, "lr": 1e-4, "holdout_mAP": 0.5}]


@pytest.fixture
def predictions() -> Predictions:
    """40 images; some targets unknown, one label without a positive."""
    rng = np.random.default_rng(0)
    targets = (rng.random((40, 5)) < 0.4).astype(np.float32)
    targets[:, 4] = 0
    targets[rng.random((40, 5)) < 0.1] = -1
    scores = np.clip(0.35 * targets.clip(0) + 0.65 * rng.random((40, 5)), 0, 1).astype(np.float32)
    return Predictions([f"image {row}" for row in range(40)], scores, targets, LABELS)


def refuse_constant(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


def test_the_files_agree_with_sklearn(predictions, tmp_path) -> None:
    scores, targets = predictions.scores, predictions.targets
    torch.manual_seed(0)
    text = encode_labels(LABELS, "random:12")
    model = build_model("test_resnet", LABELS, image_size=64, hidden_size=32, label_vectors=text)
    rng = np.random.default_rng(1)
    samples = [
        (name, Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))) for name in ("image 3", "new")
    ]
    metrics = multilabel_metrics(scores, targets, 0.6, LABELS) | {"head": "sct", "missing": float("nan")}

    write_report(
        tmp_path,
        metrics=metrics,
        history=HISTORY,
        predictions=tuple(predictions),
        model=model,
        samples=samples,
        threshold=0.6,
    )

    names = ["curves.png", "metrics.json", "per_label.csv", "predictions.parquet", "tags.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    written = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse_constant)
    assert written["head"] == "sct"
    assert written["missing"] is None
    assert written["AP"]["unseen"] is None
    table = pq.read_table(tmp_path / "predictions.parquet").to_pydict()
    assert table.pop("image_id") == list(predictions.image_ids)
    assert list(table) == [f"{kind}/{label}" for label in LABELS for kind in ("score", "target")]
    rows = {row["label"]: row for row in csv.DictReader((tmp_path / "per_label.csv").open())}
    precisions = []
    for label in LABELS:
        truth, score = np.array(table[f"target/{label}"]), np.array(table[f"score/{label}"])
        np.testing.assert_array_equal(truth, targets[:, LABELS.index(label)])
        known = truth != -1
        found = precision_recall_fscore_support(truth[known], score[known] >= 0.6, average="binary", zero_division=0)
        assert [float(rows[label][key]) for key in ("precision", "recall", "F1")] == pytest.approx(found[:3])
        assert int(rows[label]["positives"]) == (truth == 1).sum()
        if label == "unseen":
            assert rows[label]["AP"] == ""
        else:
            precisions.append(average_precision_score(truth[known], score[known]))
            assert float(rows[label]["AP"]) == pytest.approx(written["AP"][label])
    assert written["mAP_sklearn"] == pytest.approx(np.mean(precisions))


def test_a_linear_head_and_no_samples(predictions, tmp_path) -> None:
    model = build_model("test_resnet", LABELS, image_size=64, head="linear")
    metrics = multilabel_metrics(predictions.scores, predictions.targets, label_names=LABELS)
    write_report(tmp_path, metrics=metrics, history=HISTORY, predictions=predictions, model=model, samples=[])
    assert not (tmp_path / "tags.png").exists()
    assert (tmp_path / "curves.png").exists()


def test_a_full_disk_leaves_the_older_file_whole(predictions, tmp_path, monkeypatch) -> None:
    (tmp_path / "predictions.parquet").write_text("older")

    def fill(table: pd.DataFrame, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", fill)
    model = build_model("test_resnet", LABELS, image_size=64, head="linear")
    metrics = multilabel_metrics(predictions.scores, predictions.targets, label_names=LABELS)
    with pytest.raises(OSError, match="No space left"):
        write_report(tmp_path, metrics=metrics, history=[], predictions=predictions, model=model, samples=[])
    assert (tmp_path / "predictions.parquet").read_text() == "older"
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "per_label.csv", "predictions.parquet"}


def test_wrong_targets_are_named(predictions) -> None:
    with pytest.raises(InputError, match="targets"):
        label_table(predictions._replace(targets=predictions.targets + 0.5))


def test_json_is_plain(tmp_path) -> None:
    content = {
        "array": np.array([1.0, np.nan]),
        "number": np.float32(0.5),
        "tensor": torch.tensor([[1, 2]]),
        3: (float("inf"), tmp_path),
        "text": "é",
    }
    write_json(tmp_path / "a.json", content)
    expected = {"array": [1.0, None], "number": 0.5, "tensor": [[1, 2]], "3": [None, str(tmp_path)], "text": "é"}
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"), parse_constant=refuse_constant) == expected


def test_table_of_a_case_worked_by_hand() -> None:
    """Dog is always right; of cat's two predictions one is right, of its positives one of two is found."""
    scores = np.array([[0.9, 0.8], [0.8, 0.7], [0.1, 0.2], [0.2, 0.1]])
    targets = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
    names = ["dog", "cat"]
    metrics = multilabel_metrics(scores, targets, label_names=names)
    predictions = Predictions(["a", "b", "c", "d"], scores, targets, names)
    # cat: ranks 2 and 3 of 4 are hits: precision 1/2 and 2/3, with the envelope 2/3 at both.
    assert format_table(metrics, names, predictions=predictions).splitlines() == [
        "mAP 83.3 %   mAP_11point 83.3   mAP_sklearn 79.2   exact_match 50.0   (4 images)",
        "",
        "          CP    CR   CF1  CF1_mean    OP    OR   OF1",
        "at 0.5  75.0  75.0  75.0      75.0  75.0  75.0  75.0",
        "top 3   75.0  75.0  75.0      75.0  75.0  75.0  75.0",
        "",
        "label  positives     AP  precision  recall     F1",
        "dog            2  100.0      100.0   100.0  100.0",
        "cat            2   66.7       50.0    50.0   50.0",
    ]


def test_of_many_labels_the_most_frequent_and_the_worst_are_printed() -> None:
    """Label n has n positives of 130, and the scores of labels 60 to 79 are the wrong way round."""
    names = [f"label {number}" for number in range(130)]
    targets = (np.arange(130)[:, None] < np.arange(130)).astype(np.int8)
    scores = np.where(np.arange(130) // 20 == 3, 1 - targets, targets).astype(np.float32)
    metrics = multilabel_metrics(scores, targets, label_names=names)
    predictions = Predictions([f"image {row}" for row in range(130)], scores, targets, names)
    *_, frequent, worst, last = format_table(metrics, names, predictions=predictions).split("\n\n")
    assert frequent.splitlines()[0] == "20 labels with the most images"
    assert [line.split()[1] for line in frequent.splitlines()[2:]] == [str(number) for number in range(129, 109, -1)]
    assert worst.splitlines()[0] == "20 labels with the lowest AP"
    assert {line.split()[1] for line in worst.splitlines()[2:]} == {str(number) for number in range(60, 80)}
    assert last == "per_label.csv has all 130 labels"
    alone = format_table(metrics, names).split("\n\n")
    assert alone[-1] == "metrics.json has all 130 labels"
    assert "most images" not in alone[-3] + alone[-2]


def test_a_row_of_the_table_is_that_of_the_label_alone(predictions) -> None:
    scores, targets = predictions.scores, predictions.targets.copy()
    targets[:, 3] = -1
    limits = np.array([0.3, 0.5, 0.7, 0.5, 0.9])
    table = label_table(predictions._replace(targets=targets), limits)
    for place, row in enumerate(table.itertuples()):
        alone = multilabel_metrics(scores[:, [place]], targets[:, [place]], limits[place], ["it"])
        figures = [alone["AP"]["it"], alone["OP"], alone["OR"], alone["OF1"]] if place != 3 else [None] * 4
        assert row.positives == (targets[:, place] == 1).sum()
        np.testing.assert_allclose([row.AP, row.precision, row.recall, row.F1], np.array(figures, dtype=float))


def test_groups_of_labels_by_hand(tmp_path) -> None:
    """Three labels as above, the third like the first."""
    scores = np.array([[0.9, 0.8, 0.9], [0.8, 0.7, 0.8], [0.1, 0.2, 0.1], [0.2, 0.1, 0.2]])
    targets = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 0], [0, 0, 0]])
    names, positives = ["dog", "cat", "cow"], np.array([120, 3, 10])
    limits = (10, 100)
    groups = frequency_groups(positives, limits)
    metrics = multilabel_metrics(scores, targets, label_names=names)
    metrics |= {"frequency_limits": limits, **group_metrics(metrics["AP"], names, groups)}
    predictions = Predictions(["a", "b", "c", "d"], scores, targets, names, positives, groups)
    blocks = format_table(metrics, names, predictions=predictions).split("\n\n")
    assert blocks[2].splitlines() == [
        "          training positives  labels    mAP",
        "rare                up to 10       2   83.3",
        "common             11 to 100       0      –",
        "frequent           above 100       1  100.0",
    ]
    assert blocks[3].splitlines()[:2] == [
        "label  train_positives     group  positives     AP  precision  recall     F1",
        "dog                120  frequent          2  100.0      100.0   100.0  100.0",
    ]
    write_scores(tmp_path, metrics=metrics, predictions=predictions)
    written = pd.read_csv(tmp_path / "per_label.csv")
    assert written["train_positives"].tolist() == [120, 3, 10]
    assert written["group"].tolist() == ["frequent", "rare", "rare"]
    assert json.loads((tmp_path / "metrics.json").read_text())["mAP_rare"] == pytest.approx(5 / 6)


def test_table_side_by_side(predictions) -> None:
    metrics = multilabel_metrics(predictions.scores, predictions.targets, label_names=LABELS) | {"head": "sct"}
    other = multilabel_metrics(1 - predictions.scores, predictions.targets, label_names=LABELS)
    blocks = format_table(metrics, LABELS, comparison={"sct": metrics, "linear": other}).split("\n\n")
    assert len(blocks) == 4
    header, own, rival = (line.split() for line in blocks[2].splitlines())
    assert [own[0], rival[0]] == ["sct", "linear"]
    assert own[1 + header.index("mAP")] == f"{100 * metrics['mAP']:.1f}"
    assert rival[1 + header.index("CF1_top3")] == f"{100 * other['CF1_top3']:.1f}"
    header, *lines = blocks[3].splitlines()
    assert header.split() == ["label", "AP", "AP", "linear"]
    for label, line in zip(LABELS[:4], lines[:4], strict=True):
        assert line.split()[-2:] == [f"{100 * metrics['AP'][label]:.1f}", f"{100 * other['AP'][label]:.1f}"]
    assert lines[4].split() == ["unseen", "–", "–"]


def test_names_are_text_in_the_table_and_in_per_label(tmp_path) -> None:
    names = HOSTILE_NAMES
    rng = np.random.default_rng(0)
    scores, targets = rng.random((6, len(names))), np.tile(np.arange(6)[:, None] % 2, len(names))
    metrics = multilabel_metrics(scores, targets, label_names=names)
    predictions = Predictions([str(row) for row in range(6)], scores, targets, names)
    printed = format_table(metrics, names, predictions=predictions)
    assert len(printed.split("\n\n")[-1].splitlines()) == 1 + len(names)
    assert not [letter for letter in printed if not letter.isprintable() and letter != "\n"]
    write_scores(tmp_path, metrics=metrics, predictions=predictions)
    with open(tmp_path / "per_label.csv", encoding="utf-8", newline="") as stream:
        cells = [row[0] for row in csv.reader(stream)][1:]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))]
    assert [*map(from_csv_cell, cells)] == names
