from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sct_hf.data import load_data
from sct_hf.data.places import distinct_ids, find_image, unread_files, windows_hint
from sct_hf.data.problems import DataError
from sct_hf.training.arguments import DataArguments
from sct_hf.training.data_checks import check_run_data


@pytest.fixture
def root(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    for name in ("a/0.jpg", "frames/frame_000001.PNG", "two/x.jpg", "two/x.png", "back\\slash.png"):
        save_image(tmp_path / name.replace("PNG", "png")).rename(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("a/0.jpg", "a/0.jpg"),
        (" a/0.jpg ", "a/0.jpg"),
        ("a\\0.jpg", "a/0.jpg"),
        ("0.jpg", "a/0.jpg"),
        ("frames/frame_000001", "frames/frame_000001.PNG"),
        ("frames\\frame_000001", "frames/frame_000001.PNG"),
        ("back\\slash.png", "back\\slash.png"),
        ("two/x", "two/x"),
        ("a/1.jpg", "a/1.jpg"),
        ("b\\1.jpg", "b/1.jpg"),
        ("C:\\a\\0.jpg", "C:\\a\\0.jpg"),
        ("a\0b.jpg", "a\0b.jpg"),
        ("x" * 5000, "x" * 5000),
    ],
)
def test_a_written_path(root: Path, written: str, found: str) -> None:
    """Of two images of a name without an ending neither is taken."""
    assert find_image(written, [root, root / "a"]) == root / found


def test_hints_for_paths_of_windows() -> None:
    assert "another machine" in (windows_hint("C:\\a.jpg") or "")
    assert "another machine" in (windows_hint("\\\\server\\a.jpg") or "")
    assert "slashes" in (windows_hint("a\\b.jpg") or "")
    assert windows_hint("a/b.jpg") is None


def test_files_that_nobody_reads_are_counted_by_ending(tmp_path: Path, save_image: Callable[..., Path]) -> None:
    save_image(tmp_path / "dog" / "a.png")
    save_image(tmp_path / "cat" / "b.png", seed=1)
    for name in ("dog/1.heic", "dog/2.HEIC", "cat/3.tga", "cat/4.jpe", "cat/notes.txt", "cat/.hidden.tga"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "cat" / "photo").write_bytes((tmp_path / "cat" / "b.png").read_bytes())
    (tmp_path / "cat" / "LICENSE").write_text("text")
    note = unread_files(tmp_path)
    assert note is not None
    assert "5 files are not read (1 without an ending, 2 .heic, 1 .jpe, 1 .tga)" in note
    assert "pip install pillow-heif" in note
    assert unread_files(tmp_path / "nothing") is None
    assert load_data("labelfolders", "train", data_dir=tmp_path).label_names == ["cat", "dog"]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["x/a.jpg", "y/b.jpg"], ["a", "b"]),
        (["x/a.jpg", "y/a.jpg"], ["x/a", "y/a"]),
        (["x\\a.jpg", "y\\a.jpg"], ["x/a", "y/a"]),
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
    ],
)
def test_short_ids(names: list[str], ids: list[str]) -> None:
    assert distinct_ids(names) == ids


PATHS = st.lists(st.from_regex(r"[ab]{0,2}/?[ab]{1,2}\.(jpg|png)", fullmatch=True), unique=True)


@given(PATHS)
def test_ids_of_different_files_differ(names: list[str]) -> None:
    names = [name.removeprefix("/") for name in names]
    if len(set(names)) == len(names):
        assert len(set(distinct_ids(names))) == len(names)


def test_a_path_of_windows_that_leads_nowhere_is_explained(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    (tmp_path / "t.csv").write_text("image,labels\n0.png,dog\nC:\\photos\\1.png,cat\n")
    with pytest.raises(DataError, match=r"another machine \(Windows\): write it relative"):
        check_run_data(DataArguments(dataset="csv", train_file=str(tmp_path / "t.csv"), eval_split="held_out"))
