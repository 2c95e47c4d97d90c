"""Heatmaps as files."""

import sys

import numpy as np
import pytest
from PIL import Image

from sct_hf.inference.heatmaps import captioned, write_heatmaps
from sct_hf.inference.tagger import Tags


def test_heatmaps_have_names_that_files_can_have(tmp_path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "teal").save(path)
    long = "消防車" * 100
    labels = ["traffic/light", "消防車", 'a:b*"c', long, long + "犬", "50%"]
    maps = {label: np.eye(3, dtype=np.float32) for label in labels}
    written = write_heatmaps(Tags(path, [(label, 0.5) for label in labels], maps=maps), tmp_path / "maps", tmp_path)
    names = [file.name for file in written]
    assert names[:3] == ["a.png-traffic%2Flight.png", "a.png-消防車.png", "a.png-a%3Ab%2A%22c.png"]
    assert names[5] == "a.png-50%25.png"
    assert len(set(names)) == len(labels)
    assert all(file.is_file() and len(file.name.encode()) <= 255 for file in written)
    assert names[3].startswith("a.png-消防車消防車")


def strip_of(label: str, score: float = 0.5, width: int = 200) -> np.ndarray:
    """The caption's pixels below a heatmap, of which every pixel is kept."""
    heatmap = Image.effect_noise((width, 40), 50).convert("RGB")
    sheet = captioned(heatmap, label, score)
    assert sheet.size == (width, 64)
    np.testing.assert_array_equal(np.asarray(sheet)[:40], np.asarray(heatmap))
    return np.asarray(sheet)[40:].astype(int)


def test_a_caption_tells_tag_and_score() -> None:
    """The left half depends on the label alone, the right half on the score alone."""
    dog, cat, sure = strip_of("dog"), strip_of("cat"), strip_of("dog", 0.97)
    assert (dog[:, :100] != cat[:, :100]).any()
    np.testing.assert_array_equal(dog[:, 100:], cat[:, 100:])
    assert (dog[:, 100:] != sure[:, 100:]).any()
    np.testing.assert_array_equal(dog[:, :100], sure[:, :100])


def test_a_long_label_leaves_room_for_the_score() -> None:
    long, short = strip_of("a very long label " * 20), strip_of("dog")
    np.testing.assert_array_equal(long[:, 160:], short[:, 160:])
    strip_of("a label", width=5)


def test_letters_without_a_glyph_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    unassigned = "\U000e0fff"
    np.testing.assert_allclose(strip_of(unassigned), strip_of(r"\U000e0fff"), atol=2)  # parts of pixels
    assert (strip_of("Füchse") != strip_of(r"F\xfcchse")).any()  # a letter of matplotlib's font
    monkeypatch.setitem(sys.modules, "sct_hf.fonts", None)  # as without matplotlib
    np.testing.assert_allclose(strip_of("Füchse"), strip_of(r"F\xfcchse"), atol=2)


def test_a_very_long_name_is_cut_like_a_long_one() -> None:
    """Letter by letter, 50,000 would take an hour."""
    short, long = (captioned(Image.new("RGB", (200, 50)), "x" * count, 0.5) for count in (300, 50_000))
    assert np.array_equal(np.asarray(short), np.asarray(long))  # the same first and last letters
