"""Names in plots, in scripts that a machine has fonts for or has not."""

import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.figure import Figure

from sct_hf import fonts
from sct_hf.fonts import fonts_for
from sct_hf.training.label_figure import label_figure
from sct_hf.training.plot_style import styled
from tests.hostile import HOSTILE_NAMES
from tests.training.test_label_figure import summary

SCRIPTS = ["Füchse", "κύων", "собака", "狗", "犬の家", "कुत्ता", "كلب", "כלב", "สุนัข", "강아지", "🐕", "👩\u200d🚒"]


@pytest.fixture
def only_dejavu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the font that comes with matplotlib alone."""
    monkeypatch.setattr(fonts, "_families", lambda: ["DejaVu Sans"])


def glyphs(family: str) -> set[int]:
    """Code points of a font by another reader of fonts."""
    with TTFont(font_manager.findfont(family, fallback_to_default=False), fontNumber=0) as font:
        return set(font.getBestCmap())


@pytest.mark.parametrize("name", [*SCRIPTS, *HOSTILE_NAMES])
def test_every_letter_has_a_glyph_or_is_written_out(name: str) -> None:
    with styled([name]) as drawn, warnings.catch_warnings():
        warnings.simplefilter("error")
        text = drawn(name)
        figure = Figure()
        figure.text(0, 0, text)
        figure.text(0, 0.5, text, fontweight="bold")
        figure.draw_without_rendering()
        families = matplotlib.rcParams["font.family"]
    assert {ord(letter) for letter in text} <= set().union(*map(glyphs, families))


@pytest.mark.usefixtures("only_dejavu")
def test_letters_that_no_font_has_are_escaped_and_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with styled(["dog", "狗 (dog)", "🐕", "狗"]) as drawn:
        assert [drawn("dog"), drawn("狗 (dog)"), drawn("🐕")] == ["dog", r"\u72d7 (dog)", r"\U0001f415"]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    told = r"note: no font of this machine has all letters of 3 names, such as '狗 (dog)': plots write \u72d7 (dog);"
    assert errors[0].startswith(told)
    with styled(["Füchse", "собака"]) as drawn:
        assert drawn("собака") == "собака"
    assert capsys.readouterr().err == ""


def test_a_font_that_has_the_letters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = {"DejaVu Sans": set(range(128)), "A": {0x72D7}, "B": {0x72D7, 0x732B}, "C": {0x1F415}, "D": set()}
    monkeypatch.setattr(fonts, "_families", lambda: list(letters))
    monkeypatch.setattr(fonts, "_letters", lambda family: frozenset(letters[family]))
    assert fonts_for("dog") == (["DejaVu Sans"], set())
    assert fonts_for("狗") == (["DejaVu Sans", "A"], set())
    assert fonts_for("狗猫🐕क") == (["DejaVu Sans", "B", "C"], {"क"})


def test_fonts_that_draw_boxes_are_not_taken() -> None:
    assert not [name for name in fonts._families() if "Last Resort" in name]
    unassigned = "\U000e0fff"
    assert fonts_for(unassigned) == (["DejaVu Sans"], {unassigned})


def test_long_names_lose_their_middle() -> None:
    with styled(["狗猫"], longest=11) as drawn:
        assert [drawn("a" * 11), drawn("abcdefghijkl")] == ["a" * 11, "abcde…hijkl"]
        assert drawn("two\nlong lines") == "two…nes"
    with styled(["\U000e0fff" * 3], longest=23) as drawn:
        assert drawn("\U000e0fff" * 3) == r"\U000e0fff…\U000e0fff"  # no escape is cut


@pytest.mark.usefixtures("only_dejavu")
def test_a_plot_of_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [*SCRIPTS, *HOSTILE_NAMES, "long " * 40]
    shown = replace(summary(len(names)), label_names=names, name="数据 train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        label_figure([shown], tmp_path / "labels.png")
    assert len(capsys.readouterr().err.splitlines()) == 1
