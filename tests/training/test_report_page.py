"""report.html: what it says, and that it stays small and harmless."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sct_hf import build_model
from sct_hf.data import LabelledImages
from sct_hf.data.image_sources import ImageFiles
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.training import report_parts
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train
from sct_hf.training.report import Predictions, write_scores
from sct_hf.training.report_images import best_and_worst
from sct_hf.training.report_page import write_report_page
from sct_hf.training.report_parts import confusion_table, label_rows, training_charts
from sct_hf.training.rescore import rescore
from tests.hostile import HOSTILE_NAMES
from tests.page_checks import ReadPage, harmless_page

LABELS = ["cat", "dog", "bird"]
SCORES = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.2, 0.7, 0.6], [0.1, 0.2, 0.9]], dtype=np.float32)
TARGETS = np.array([[1, 0, 0], [0, 1, 0], [0, 1, -1], [0, 0, 1]], dtype=np.int8)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def page(tmp_path: Path, picture: Path) -> Callable[..., ReadPage]:
    """The report of given scores, read."""

    def make(
        scores: np.ndarray = SCORES,
        targets: np.ndarray = TARGETS,
        names: list[str] = LABELS,
        ids: list[str] | None = None,
        thresholds: Any = None,
        **more: Any,
    ) -> ReadPage:
        ids = ids or [f"image {number}" for number in range(len(scores))]
        model = build_model("test_resnet", names, image_size=32, head="linear", thresholds=thresholds)
        images = LabelledImages(ImageFiles([picture] * len(ids)), targets, names, ids, "animals", "val")
        metrics = multilabel_metrics(scores, targets, label_names=names) | {"dataset": "animals", "split": "val"}
        record = {"arguments": {"seed": 3, "data_dir": "</script>"}, "versions": {"torch": "2.13"}}
        write_report_page(
            tmp_path, metrics | more, Predictions(ids, scores, targets, names), model, record, images, texts=["a text"]
        )
        return harmless_page(tmp_path / "report.html")

    return make


def test_a_report_says_what_was_found(page: Callable[..., ReadPage]) -> None:
    read = page()
    text = "\n".join(read.texts)
    metrics = multilabel_metrics(SCORES, TARGETS)
    assert f"mAP\n{100 * metrics['mAP']:.1f} %\nmean of 3 labels" in text
    assert f"OF1\n{100 * metrics['OF1']:.1f} %\nat 0.5" in text
    # The second image shows a dog, and the model sees a cat: one confusion, and the worst image.
    assert re.search(r"missed\n(↕\n)?cat\n1\ndog\n1\n100.0\n50.0\n1\n", text)
    worst = text[text.index("Worst images\nThe highest") : text.index("Best images\nThe lowest")]
    assert re.findall(r"image \d", worst)[0] == "image 1"
    assert "cat\n0.80" in worst
    assert "seed\n3" in text
    assert "torch\n2.13" in text
    assert "a text" in text
    ranking, reliability = read.data
    assert len(ranking["choices"]) == len(reliability["choices"]) == 3
    assert ranking["choices"][0][1] == {"name": "at its threshold", "kind": "dots", "x": [1.0], "y": [0.5]}


def test_decisions_are_those_at_the_thresholds_of_the_checkpoint(page: Callable[..., ReadPage]) -> None:
    thresholds = [0.85, 0.25, 1.0]
    text = "\n".join(page(thresholds=thresholds).texts)
    decided, plain = (multilabel_metrics(SCORES, TARGETS, limits) for limits in (thresholds, 0.5))
    assert decided["OF1"] != plain["OF1"]
    assert f"OF1\n{100 * decided['OF1']:.1f} %\n{100 * plain['OF1']:.1f} at 0.5" in text
    assert "0.85" in text
    with_profiles = "\n".join(page(thresholds={"balanced": thresholds, "recall=0.9": [0.1, 0.1, None]}).texts)
    assert with_profiles == text
    unreachable = "\n".join(page(thresholds={"recall=0.9": [0.5, 0.5, None]}).texts)
    assert f"OF1\n{100 * multilabel_metrics(SCORES, TARGETS, [0.5, 0.5, 2])['OF1']:.1f} %" in unreachable


def test_a_warning_where_images_of_training_are_scored(page: Callable[..., ReadPage]) -> None:
    assert "2 of the 4 scored images are images of training too" in "\n".join(page(scored_in_training=2).texts)


def test_hostile_names_are_text(page: Callable[..., ReadPage]) -> None:
    names = [*HOSTILE_NAMES, "</script><script>alert(1)</script>", "x" * 3000, "y" * 3000]
    generator = np.random.default_rng(1)
    targets = (generator.random((30, len(names))) < 0.3).astype(np.int8)
    scores = generator.random(targets.shape).astype(np.float32)
    ids = [names[row % len(names)] + str(row) for row in range(len(targets))]
    read = page(scores, targets, names, ids)
    assert [choice[0]["name"] for choice in read.data[0]["choices"]][: len(HOSTILE_NAMES)] == HOSTILE_NAMES
    assert len(read.data[0]["choices"]) == len(names)


@pytest.mark.parametrize(
    ("images", "labels"), [(1, 2), (2, 300), (1000, 80), pytest.param(30, 3000, marks=pytest.mark.slow)]
)
def test_its_size_is_bounded(page: Callable[..., ReadPage], images: int, labels: int) -> None:
    generator = np.random.default_rng(2)
    targets = (generator.random((images, labels)) < 0.05).astype(np.int8)
    scores = generator.random(targets.shape).astype(np.float32)
    names = [f"{label} {'long name ' * 25}" for label in range(labels)]
    read = page(scores, targets, names)
    assert read.size < 10_000_000
    if labels > 1000:
        assert any("The 1,000 labels with the most images, of 3,000" in text for text in read.texts)
        assert any("The 2,000 labels with the most images, of 3,000" in text for text in read.texts)


def test_best_and_worst_images_are_of_different_kinds() -> None:
    scores = np.array([[0.9, 0.1], [0.95, 0.1], [0.1, 0.9], [0.8, 0.1], [0.9, 0.1], [0.05, 0.05], [0.5, 0.5]])
    targets = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [0, 0], [1, 0], [-1, -1]])
    best, worst = best_and_worst(scores, targets, count=2)
    assert worst == [5, 4]  # one label missed; then the surer of the two wrong ones
    assert best == [1, 2]  # the next best shows the same as the first; nobody knows what the last one shows


def test_curves_of_training() -> None:
    history = [
        {"epoch": 1, "step": 5, "loss": 100.0, "losses/main": 50.0, "lr": 0.1, "holdout_mAP": None},
        {"epoch": 2, "step": 10, "loss": 1.0, "losses/main": 0.5, "lr": 0.01, "holdout_mAP": 0.75},
    ]
    charts = {chart.title: chart for chart in training_charts(history)}
    assert [curve.name for curve in charts["loss"].curves] == ["loss", "main"]
    assert charts["loss"].log
    assert list(charts["held-out mAP (%)"].curves[0].x) == [2]
    assert list(charts["held-out mAP (%)"].curves[0].y) == [75]
    assert training_charts([]) == []


def test_a_run_writes_it_unless_figures_are_off(
    tmp_path: Path, tiny: Callable[..., Arguments], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sct_hf.training.report.training_curves", lambda *args, **kwargs: None)
    monkeypatch.setattr("sct_hf.training.report.tag_sheet", lambda *args, **kwargs: None)
    monkeypatch.setattr("sct_hf.training.one_head.label_figure", lambda *args, **kwargs: None)
    train(tiny(output_dir=tmp_path / "with", epochs=1, figures=True))
    read = harmless_page(tmp_path / "with" / "report.html")
    text = "\n".join(read.texts)
    assert "held-out mAP (%)" in text
    assert "trained on" in text
    assert "sct-hf train --dataset=jsonl" in text
    assert sum(value.startswith("data:image/jpeg") for value in read.attributes("src")) >= 4
    train(tiny(output_dir=tmp_path / "without", epochs=1))
    assert not (tmp_path / "without" / "report.html").exists()


def test_a_report_of_scores_before_calibration_does_not_stay(tmp_path: Path) -> None:
    names, ids = LABELS, [str(row) for row in range(4)]
    metrics = multilabel_metrics(SCORES, TARGETS, label_names=names)
    write_scores(tmp_path, metrics=metrics, predictions=Predictions(ids, SCORES, TARGETS, names))
    (tmp_path / "report.html").write_text("of the former scores")
    assert rescore(tmp_path, None, build_model("test_resnet", names, image_size=32, head="linear").config)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "per_label.csv", "predictions.parquet"}


def test_of_more_labels_than_rows_the_most_frequent_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = np.array([[0, 0, 1], [0, 1, 1], [0, 1, 1], [1, 0, 1]], dtype=np.int8)  # cat once, dog twice, bird always
    predictions = Predictions(list("abcd"), SCORES, targets, LABELS)
    assert [row[0] for row in label_rows(predictions, np.full(3, 0.5)).rows] == LABELS
    monkeypatch.setattr(report_parts, "_ROWS", 2)
    assert [row[:2] for row in label_rows(predictions, np.full(3, 0.5)).rows] == [["bird", 4], ["dog", 2]]


def test_confusions_are_of_the_most_frequent_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix of all pairs of 20,000 labels would take gigabytes."""
    monkeypatch.setattr(report_parts, "_ROWS", 2)
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 1]], dtype=np.int8)  # cat and dog twice, bird once
    scores = np.array([[0.9, 0.1, 0.9], [0.8, 0.3, 0.1], [0.2, 0.7, 0.6], [0.1, 0.2, 0.1]], dtype=np.float32)
    table = confusion_table(Predictions(list("abcd"), scores, targets, LABELS), np.full(3, 0.5))
    assert [row[:4] for row in table.rows] == [["cat", 1, "dog", 1]]
    assert "The 2 labels with the most images, of 3" in table.caption
