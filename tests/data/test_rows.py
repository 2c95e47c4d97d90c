import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sct_hf.data.rows import Row, check_files, labelled_images
from sct_hf.errors import InputError

NAMES = ["ant", "bee"]


@pytest.fixture
def broken(tmp_path: Path, save_image: Callable[..., Path]) -> dict[str, Path]:
    """One file of each fault, and three that are whole."""
    whole = save_image(tmp_path / "whole.jpg", size=(200, 200))
    png = save_image(tmp_path / "whole.png", size=(200, 200))
    files = {
        "whole": whole,
        "png": png,
        "trailing": tmp_path / "trailing.jpg",
        "missing": tmp_path / "missing.jpg",
        "empty": tmp_path / "empty.jpg",
        "text": tmp_path / "text.jpg",
        "cut": tmp_path / "cut.jpg",
        "cut_png": tmp_path / "cut.png",
        "folder": tmp_path / "folder.jpg",
    }
    files["trailing"].write_bytes(whole.read_bytes() + struct.pack("<200d", *range(200)))
    files["empty"].write_bytes(b"")
    files["text"].write_text("no image")
    files["cut"].write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    files["cut_png"].write_bytes(png.read_bytes()[:-40000])
    files["folder"].mkdir()
    return files


def test_missing_and_broken_files_are_counted_and_named(broken: dict[str, Path]) -> None:
    rows = [Row(name, path, [0]) for name, path in broken.items()]
    with pytest.raises(InputError) as caught:
        labelled_images(rows, NAMES, name="mine", split="train", skip_missing_images=False)
    message = str(caught.value)
    assert "6 of 9 images of split 'train' of data set 'mine' are missing or broken" in message
    assert f"missing at {broken['missing']} (missing); empty at {broken['empty']} (broken" in message
    assert "skip_missing_images" in message
    assert "folder" not in message, "only the first five are named"


def test_missing_and_broken_files_can_be_skipped(broken: dict[str, Path]) -> None:
    rows = [Row(name, path, [0]) for name, path in broken.items()]
    images = labelled_images(rows, NAMES, name="mine", split="train", skip_missing_images=True)
    assert images.image_ids == ["whole", "png", "trailing"]
    assert images.skipped == ("missing", "empty", "text", "cut", "cut_png", "folder")
    assert [images.dataset[n]["image"].size for n in range(3)] == [(200, 200)] * 3


def test_a_whole_file_is_not_decoded(broken: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    rows = [Row(name, broken[name], [0]) for name in ("whole", "png")]
    assert len(labelled_images(rows, NAMES, name="mine", split="train", skip_missing_images=False)) == 2


def test_all_images_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        labelled_images([Row("x", tmp_path / "x.jpg", [0])], NAMES, name="n", split="s", skip_missing_images=True)


def test_a_image_listed_twice(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    path = save_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="lists 1 images twice, first a"):
        labelled_images(
            [Row("a", path, [0]), Row("a", path, [1])], NAMES, name="n", split="s", skip_missing_images=False
        )


def test_a_label_shown_is_not_unknown(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    row = Row("a", save_image(tmp_path / "a.png"), [1, 1], [0, 1])
    images = labelled_images([row], NAMES, name="n", split="s", skip_missing_images=False)
    assert images.targets().tolist() == [[-1, 1]]


def test_a_truncated_image_of_any_format_is_broken(tmp_path) -> None:
    for suffix in ("bmp", "jpg", "png", "gif", "webp"):
        whole = tmp_path / f"whole.{suffix}"
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(whole)
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        kept, skipped = check_files(
            [whole, cut], ["whole", "cut"], name="mine", split="train", skip_missing_images=True
        )
        assert (kept, skipped) == ([0], ("cut",)), suffix
