"""Two evaluations side by side: `sct-hf compare`."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.metrics.paired_bootstrap import Interval
from sct_hf.training.compare import FIGURES, compare, format_comparison
from sct_hf.training.report import Predictions, write_scores
from sct_hf_cli import run
from tests.hostile import HOSTILE_NAMES
from tests.page_checks import harmless_page

LABELS = ["cat", "dog", "bird"]
GENERATOR = np.random.default_rng(0)
TARGETS = (GENERATOR.random((40, 3)) < 0.4).astype(np.int8)
GOOD = np.clip(0.5 + (TARGETS - 0.5) * 0.6 + GENERATOR.normal(0, 0.1, TARGETS.shape), 0, 1).astype(np.float32)
BAD = GENERATOR.random(TARGETS.shape).astype(np.float32)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """A folder of an evaluation."""

    def save(
        name: str,
        scores: np.ndarray,
        targets: np.ndarray = TARGETS,
        labels: list[str] = LABELS,
        ids: list[str] | None = None,
        contents: list[str] | None = None,
    ) -> Path:
        ids = ids or [f"{number:03}" for number in range(len(scores))]
        metrics = multilabel_metrics(scores, targets, label_names=labels) | {"model": "x", "dataset": "animals"}
        predictions = Predictions(ids, scores, targets, labels, contents=contents)
        write_scores(tmp_path / name, metrics=metrics, predictions=predictions)
        return tmp_path / name

    return save


def test_figures_are_those_of_the_two_evaluations(saved: Callable[..., Path]) -> None:
    found = compare(saved("bad", BAD), saved("good", GOOD))
    assert found.figures.keys() == FIGURES.keys()
    one, two = (multilabel_metrics(scores, TARGETS, label_names=LABELS) for scores in (BAD, GOOD))
    for name, interval in found.figures.items():
        if name != "Brier":
            assert (interval.one, interval.two) == pytest.approx((one[name], two[name]))
    assert [each.one for each in found.by_label] == pytest.approx(list(one["AP"].values()))
    text = format_comparison(found)
    line = next(line for line in text.splitlines() if line.startswith("mAP"))
    assert f"{100 * one['mAP']:.1f}" in line
    assert f"+{100 * (two['mAP'] - one['mAP']):.2f}" in line
    assert line.endswith("better")
    assert next(line for line in text.splitlines() if line.startswith("Brier")).endswith("better")
    first, second = map(Path, found.titles)
    back = [line.split() for line in format_comparison(compare(second, first)).splitlines() if line]
    verdicts = {words[0]: words[-1] for words in back}
    assert (verdicts["mAP"], verdicts["Brier"]) == ("worse", "worse")


def test_the_order_of_images_and_labels_does_not_matter(saved: Callable[..., Path]) -> None:
    first = saved("bad", BAD)
    plain = compare(first, saved("good", GOOD))
    rows, columns = GENERATOR.permutation(len(GOOD)), [2, 0, 1]
    shuffled = saved(
        *("shuffled", GOOD[rows][:, columns], TARGETS[rows][:, columns], [LABELS[column] for column in columns]),
        ids=[f"{row:03}" for row in rows],
    )
    again = compare(first, shuffled)
    assert again.figures == plain.figures
    assert again.by_label == plain.by_label
    np.testing.assert_array_equal(again.two.scores, GOOD)


def test_the_page(saved: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    (images / "more").mkdir(parents=True)
    for number in range(40):
        Image.new("RGB", (30, 20), (number, 0, 0)).save(images / f"{number:03}.png")
    Image.new("RGB", (30, 20)).save(images / "more" / "007.png")  # two of one name: neither is taken
    words = [str(saved("bad", BAD)), str(saved("good", GOOD))]
    page = tmp_path / "page.html"
    assert run("compare", *words, f"--output_file={page}", f"--image_dir={images}") == 0
    said = capsys.readouterr().out
    assert "40 images, 3 labels; paired bootstrap" in said
    assert str(page) in said
    read = harmless_page(page)
    text = "\n".join(read.texts)
    assert "Images where the second is better" in text
    chances = [np.where(TARGETS == 1, scores, 1 - scores).clip(1e-7) for scores in (BAD, GOOD)]  # of what is there
    best = int(np.argmax(np.log(chances[1] / chances[0]).sum(axis=1)))
    assert text.split("Images where the second is better")[1].index(f"{best:03}") < 300
    shown = [alt for alt in read.attributes("alt") if alt]
    assert f"{best:03}" in shown
    assert "007" not in shown
    again = tmp_path / "again.html"
    assert run("compare", *words, f"--output_file={again}", f"--image_dir={images}") == 0
    assert again.read_bytes() == page.read_bytes()


def test_hostile_names_are_text(saved: Callable[..., Path], tmp_path: Path) -> None:
    names = [*HOSTILE_NAMES, "</script><script>alert(1)</script>"]
    targets = (GENERATOR.random((30, len(names))) < 0.4).astype(np.int8)
    ids = [f"{names[row % 20]}{row}" for row in range(30)]
    folders = []
    for folder in ("<i>one", "<i>two"):
        scores = GENERATOR.random(targets.shape).astype(np.float32)
        folders.append(str(saved(folder, scores, targets, names, ids)))
    assert run("compare", *folders, f"--output_file={tmp_path / 'page.html'}") == 0
    harmless_page(tmp_path / "page.html")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"labels": ["cat", "dog", "fish"]},
            r"other labels: 1 only in the first, such as 'bird'; 1 only in the second, such as 'fish'",
        ),
        (
            {"ids": [f"{number:03}" for number in range(1, 41)]},
            r"other images: 1 only in the first, such as '000'; 1 only in .* '040'",
        ),
        ({"targets": 1 - TARGETS}, r"have other labels for 40 images, first 'cat' of '000'"),
        ({"contents": ["x"] * 40}, r"40 images of .* have one name and other content, first '000'"),
    ],
)
def test_folders_that_cannot_be_compared(
    saved: Callable[..., Path], other: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, second = saved("one", GOOD, contents=["y"] * 40), saved("two", GOOD, **other)
    assert run("compare", str(first), str(second), f"--output_file={tmp_path / 'page.html'}") == 2
    error = capsys.readouterr().err
    assert re.search(words, error)
    assert str(first) in error
    assert "evaluate both on the same data" in error
    assert not (tmp_path / "page.html").exists()


def test_errors_name_folder_and_remedy(
    saved: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(saved("good", GOOD))
    assert run("compare", good, str(tmp_path)) == 2
    assert "has no predictions.parquet: give the output folder" in capsys.readouterr().err
    damaged = saved("damaged", GOOD)
    (damaged / "predictions.parquet").write_bytes(b"PAR1 and nothing more")
    assert run("compare", good, str(damaged)) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert run("compare", good, good, f"--output_file={tmp_path}") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert run("compare", good, good, "--image_dir=nowhere") == 2
    assert "image_dir is 'nowhere', which is no folder" in capsys.readouterr().err
    assert run("compare", good, good, "--seed=-1") == 2


def test_an_interval_without_a_value() -> None:
    assert Interval(None, 0.5, None, None).difference is None
