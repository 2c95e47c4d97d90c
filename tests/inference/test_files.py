"""Which files are found, and names of labels in them."""

from pathlib import Path

import pytest

from sct_hf import InputError
from sct_hf.inference.files import common_folder, find_images, path_below, read_names


def test_find_images(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/c/two.JPG", "b/one.png", "b/notes.txt", "b/._one.png", "a[1].webp", "z.data", "d/e/x.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("hollow").mkdir()

    def found(*inputs: str) -> list[str]:
        return [path.as_posix() for path in find_images(inputs)]

    assert found("b") == ["b/c/two.JPG", "b/one.png"]
    assert found("z.data", "b/*.png", "b") == ["z.data", "b/one.png", "b/c/two.JPG"]
    assert found("a[1].webp") == ["a[1].webp"]
    assert found("b/*") == ["b/c/two.JPG", "b/one.png"]
    assert found("**/*.png") == ["b/one.png", "d/e/x.png"]
    assert found("[bd]") == ["b/c/two.JPG", "b/one.png", "d/e/x.png"]
    assert found("z.data", "gone.png", "hollow", "no*") == ["z.data", "gone.png", "hollow", "no*"]
    with pytest.raises(InputError, match=r"images: 'gone.png' matches no file; give"):
        find_images(["gone.png"])
    with pytest.raises(InputError, match=r"images: 'hollow' is a folder without images, 'no\*' matches no file; give"):
        find_images(["hollow", "no*"])
    assert common_folder([Path("b/one.png"), Path("d/e/x.png")]) == tmp_path
    assert common_folder([Path("d/e/x.png")]) == tmp_path / "d" / "e"
    monkeypatch.chdir("d")
    paths = [Path("../b/one.png"), Path("e/x.png"), Path("e/../y.png")]
    root = common_folder(paths)
    assert root == tmp_path
    assert [path_below(path, root).as_posix() for path in paths] == ["b/one.png", "d/e/x.png", "d/y.png"]


def test_names_of_labels_in_a_file(tmp_path) -> None:
    (tmp_path / "labels.txt").write_text("\ufeffwild boar\n\n  fire engine \r\ndog", encoding="utf-8")
    assert read_names(tmp_path / "labels.txt") == ["wild boar", "fire engine", "dog"]
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    for name, reason in {"empty.txt": "holds no name", "latin.txt": "not UTF-8", "absent.txt": "No such file"}.items():
        with pytest.raises(InputError, match=rf"labels_file is .*{name}.*{reason}"):
            read_names(tmp_path / name)
