import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from sct_hf.data import ImageDataset, eval_transform
from sct_hf.data.assemble import labelled_images
from sct_hf.data.base import LabelledImages
from sct_hf.data.listing import Listing, Look, Record
from sct_hf.data.looks import examine, look_at
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


def assembled(files: dict[str, Path], **options: Any) -> LabelledImages:
    records = [Record(f"line {number}", name, path, ["ant"]) for number, (name, path) in enumerate(files.items())]
    return labelled_images(Listing("list", records), NAMES, name="mine", split="train", **options)


def test_missing_and_broken_files_are_counted_and_named(broken: dict[str, Path]) -> None:
    with pytest.raises(InputError) as caught:
        assembled(broken)
    message = str(caught.value)
    assert "6 of 9 images of split 'train' of data set 'mine' are missing or broken" in message
    assert f"missing at {broken['missing']} (missing); empty at {broken['empty']} (broken" in message
    assert "skip_missing_images" in message
    assert "folder" not in message, "only the first five are named"
    assert "BytesIO" not in message


def test_missing_and_broken_files_can_be_skipped(broken: dict[str, Path]) -> None:
    images = assembled(broken, skip_missing_images=True)
    assert images.image_ids == ["whole", "png", "trailing"]
    assert images.skipped == ("missing", "empty", "text", "cut", "cut_png", "folder")
    assert [images.image(n).size for n in range(3)] == [(200, 200)] * 3


def test_each_file_is_opened_once(broken: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is listed twice, and looked at by the checks and by what builds the data set."""
    opened: list[Path] = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.append(path), read(path))[1])
    monkeypatch.setattr("PIL.Image.open", lambda file, _open=Image.open: _open(file))
    records = [Record("x", name, broken[name], []) for name in ("whole", "png")]
    listing = examine(Listing("list", [*records, Record("x", "again", broken["whole"], [])]))
    images = labelled_images(examine(listing), NAMES, name="mine", split="train")
    assert len(images) == 3
    assert opened == [broken["whole"], broken["png"]]


def test_all_images_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no image"):
        assembled({"x": tmp_path / "x.jpg"}, skip_missing_images=True)


def test_an_image_listed_twice(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    path = save_image(tmp_path / "a.png")
    records = [Record("x", "a", path, ["ant"]), Record("x", "a", path, ["bee"])]
    with pytest.raises(InputError, match="lists 1 images twice, first a"):
        labelled_images(Listing("list", records), NAMES, name="n", split="s")


@pytest.mark.parametrize(("unknown", "marks"), [(False, [-1, 1, 0]), (True, [-1, 1, -1])])
def test_marks_of_a_record(tmp_path: Path, save_image: Callable[..., Path], unknown: bool, marks: list[int]) -> None:
    """A label that is shown is neither unknown nor difficult."""
    record = Record("x", "a", save_image(tmp_path / "a.png"), ["bee", "bee"], ["ant", "bee"], ["bee", "cow"])
    listing = Listing("list", [record])
    images = labelled_images(listing, [*NAMES, "cow"], name="n", split="s", difficult_unknown=unknown)
    assert images.targets().tolist() == [marks]


def test_a_truncated_image_of_any_format_is_broken(tmp_path: Path) -> None:
    for suffix in ("bmp", "jpg", "png", "gif", "webp"):
        whole = tmp_path / f"whole.{suffix}"
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(whole)
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        images = assembled({"whole": whole, "cut": cut}, skip_missing_images=True)
        assert (images.image_ids, images.skipped) == (["whole"], ("cut",)), suffix


def mutants(count: int) -> list[bytes]:
    """JPEG and PNG files with bytes changed, cut out, put in or cut off, most of them near the start."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        image, stream = Image.fromarray(pixels).resize((64, 48)), BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        options: dict[str, Any] = {"exif": exif} if number % 3 == 0 else {}
        image.save(stream, "JPEG" if number % 2 else "PNG", **options)
        data = bytearray(stream.getvalue())
        for _ in range(int(rng.integers(1, 6))):
            at = int(len(data) * rng.random() ** 2)
            kind = rng.integers(4)
            if kind == 0 and at < len(data):
                data[at] = int(rng.integers(256))
            elif kind == 1:
                del data[at : at + int(rng.integers(1, 30))]
            elif kind == 2 or number % 4:
                data[at:at] = rng.bytes(int(rng.integers(1, 30)))
            else:
                del data[max(at, 20) :]
        made.append(bytes(data))
    return made


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_what_is_called_sound_can_be_trained_on(tmp_path: Path) -> None:
    """Every mutant that passes is decoded in training and in evaluation; every other one fails in one of the two."""
    found = mutants(300)
    looks = [look_at({"bytes": data, "path": None}) for data in found]
    assert 60 < sum(look.fault is None for look in looks) < 240
    for number, (data, look) in enumerate(zip(found, looks, strict=True)):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(data)
        record = Record("x", "a", path, [])
        images = labelled_images(Listing("list", [record], looks=[Look()]), NAMES, name="n", split="s")
        fails = []
        for draft_side in (None, 8):
            dataset = ImageDataset(images, eval_transform(16, [0.5] * 3, [0.5] * 3), draft_side=draft_side)
            try:
                dataset[0]
            except (InputError, OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
                fails.append(error)
        assert (look.fault is not None) == bool(fails), (number, look.fault, fails)


def test_equal_content_makes_one_image_if_so_asked(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    save_image(tmp_path / "a.png", seed=1)
    save_image(tmp_path / "b.png", seed=1)
    paths = [tmp_path / name for name in ("a.png", "b.png", "gone.png", "lost.png")]
    records = [Record("x", path.name, path, [label]) for path, label in zip(paths, "abcd", strict=True)]
    listing = examine(Listing("list", records, one_image_by_content=True))
    assert [(record.image, record.labels) for record in listing.records] == [
        *[("a.png", ["a", "b"]), ("gone.png", ["c"]), ("lost.png", ["d"])]
    ]
    assert [look.fault for look in listing.looks or []] == [None, "missing", "missing"]
    assert listing.notes == ["list: 4 files are 3 images"]
