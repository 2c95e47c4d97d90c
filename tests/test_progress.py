"""What the bars of long steps show."""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.utils import are_progress_bars_disabled
from PIL import Image

from sct_hf import progress
from sct_hf.cli import publish
from sct_hf.data import load_data
from sct_hf.export.calibration import CalibrationImages
from sct_hf.progress import above_bars, activity, progress_bar, step_bar
from tests.terminal import Terminal


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars that do not wait to see whether a step is short."""
    monkeypatch.setattr(progress, "_SHORT", 0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images in a folder for each of two labels."""
    for number, label in enumerate("aab"):
        path = tmp_path / "photos" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    return tmp_path / "photos"


def test_a_short_step_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(step_bar(range(3), desc="short")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("at_once")
def test_one_process_of_a_run_shows_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert list(step_bar(range(3), desc="long")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    assert list(step_bar(range(3), desc="long")) == [0, 1, 2]
    assert "0/3" in capsys.readouterr().err


def test_a_bar_that_is_not_shown_takes_every_call(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(total=2, shown=False) as bar:
        bar.set_description("epoch 1")
        bar.set_postfix(loss=1.0)
        bar.update(2)
        bar.refresh()
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("at_once")
def test_scenes_are_rendered_with_a_total(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_data("scenes", "train", size=5, cache_dir=tmp_path)
    shown = capsys.readouterr().err
    assert "rendering scenes" in shown
    assert "0/5" in shown
    assert "Generating" not in shown  # the bar of datasets, which has no total


@pytest.mark.usefixtures("at_once")
def test_opening_images_has_a_total(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(load_data("labelfolders", "train", data_dir=photos)) == 3
    shown = capsys.readouterr().err
    assert "opening images" in shown
    assert "0/3" in shown


@pytest.mark.usefixtures("at_once")
def test_calibration_images_have_a_total(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config: Any = SimpleNamespace(input_size=(8, 8), image_mean=[0.5] * 3, image_std=[0.5] * 3)
    assert len([*CalibrationImages([str(photos)], config, count=9, seed=0)]) == 3
    shown = capsys.readouterr().err
    assert "calibration images" in shown
    assert "0/3" in shown


@pytest.mark.parametrize("delay", [0, 1000])
def test_lines_stand_above_the_bars_of_a_terminal(delay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of a bar, whether it was drawn or still waited when a line was written."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    with activity("doing this"):
        for stream in progress_bar([sys.stderr, sys.stdout], shown=True, delay=delay, leave=False):
            with above_bars(stream):
                print("a line", file=stream)
    print("the end")
    assert "doing this" in screen.getvalue()
    assert ("0/2" in screen.getvalue()) == (delay == 0)
    assert screen.lines == ["a line", "a line", "the end"]


def test_a_bar_that_was_drawn_for_a_line_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delay may pass between two of its items."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress_bar(shown=True, total=9, delay=1000, leave=False) as bar:
        bar.start_t -= 2000
        with above_bars(sys.stderr):
            print("a line", file=sys.stderr)
    assert "0/9" in screen.getvalue()
    assert screen.lines == ["a line"]


def test_a_log_has_a_line_for_each_state(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(shown=True, total=2, desc="tagging") as bar, progress_bar(shown=True, total=3) as inner:
        print("an error", file=sys.stderr)
        inner.update(3)
        bar.update(2)
    lines = capsys.readouterr().err.split("\n")
    assert [line.partition("[")[0].strip() for line in lines] == [
        "tagging:   0%|          | 0/2",
        "0%|          | 0/3",
        "an error",
        "100%|██████████| 3/3",
        "tagging: 100%|██████████| 2/2",
        "",
    ]


def test_what_stands_in_for_stderr_needs_no_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs redirect it to their loggers."""
    written: list[str] = []
    stream = SimpleNamespace(write=written.append, flush=lambda: None, isatty=lambda: False)
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress_bar(range(2), shown=True, desc="tagging")) == [0, 1]
    assert "0/2" in written[0]
    assert "2/2" in written[-1]


def test_an_upload_shows_the_bars_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    disabled = []

    def upload(*_: Any, **__: Any) -> Any:
        disabled.append(are_progress_bars_disabled())
        return SimpleNamespace(pr_url=None, commit_url="address", oid="commit")

    monkeypatch.setattr(publish, "prepared", lambda *_, **__: nullcontext(Path("folder")))
    monkeypatch.setattr(publish, "upload", upload)
    assert publish.main(["folder", "owner/name"]) == 0
    assert disabled == [False]
