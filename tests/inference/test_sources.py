"""Which images are found in what users name, against files, tables and tars made by hand and by other libraries."""

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sct_hf import InputError
from sct_hf.inference import containers, walking
from sct_hf.inference.hub_rows import HubRows
from sct_hf.inference.items import Item
from sct_hf.inference.lookup import Lookup
from sct_hf.inference.sources import Sources

BYTES = [f"image {number}".encode() for number in range(6)]


@pytest.fixture(autouse=True)
def _within(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def items(*inputs: str, without_names: Iterable[str] = (), **options: object) -> list[Item]:
    done = set(without_names)
    return list(Sources(inputs, **options).items(lambda name: name not in done))


def names(*inputs: str, **options: object) -> list[str]:
    return [item.name for item in items(*inputs, **options)]


def test_folders_and_patterns_give_what_a_listing_gives() -> None:
    odd = ["a b/ü\u2028.JPG", "a b/new\nline.png", "a/1.Tiff", "a-b/2.webp", "[x]/3.gif"]
    touch("in/.hidden.jpg", "in/notes.txt", *(f"in/{name}" for name in odd))
    os.symlink("..", "in/a/loop")
    os.symlink("1.Tiff", "in/a/0.png")
    expected = [str(Path("in", name)) for name in [*odd, "a/0.png"]]
    assert names("in") == [str(path) for path in sorted(map(Path, expected))]
    assert names("./in/") == names("in")
    assert names(str(Path("in").resolve())) == [
        str(Path(name).resolve().parent / Path(name).name) for name in names("in")
    ]
    assert names("in/**/*.png") == sorted(name for name in expected if name.endswith(".png"))
    assert names("in/[x]/3.gif") == ["in/[x]/3.gif"]
    os.symlink("..", "in/a-b/above")
    os.symlink(".", "in/a-b/same")
    os.symlink("../a", "in/a-b/beside")
    assert names("in/a-b/**/*.webp") == ["in/a-b/2.webp"]
    assert names("in/a-b/*/*.png") == ["in/a-b/beside/0.png"]
    assert names("gone.jpg", "in/a") == ["gone.jpg", "in/a/0.png", "in/a/1.Tiff"]
    with pytest.raises(InputError, match=r"images: 'gone.jpg' matches no file, 'no\*' matches no file; give files"):
        items("gone.jpg", "no*")


def test_a_link_to_no_file_is_given_as_a_file() -> None:
    touch("in/1.jpg", "in/folder.jpg/2.jpg", "in/notes.txt")
    for name, target in {"0.jpg": "gone.jpg", "3.jpg": "3.jpg", "4.txt": "gone.txt", "5.jpg": "folder.jpg"}.items():
        os.symlink(target, f"in/{name}")
    assert names("in") == ["in/0.jpg", "in/1.jpg", "in/3.jpg", "in/folder.jpg/2.jpg"]
    os.mkdir("links")
    os.symlink("gone.jpg", "links/0.jpg")
    assert names("links") == ["links/0.jpg"]
    os.symlink("gone.parquet", "links/1.parquet")
    os.remove("links/0.jpg")
    (found,) = items("links")
    assert found.name == "links/1.parquet"
    assert "No such file" in found.error


def test_a_pattern_passes_over_what_does_not_end_like_an_image() -> None:
    touch("in/1.jpg", "in/1.jpg.xmp", "in/1.jpg.json", "in/a/2.jpg", "in/a/2.jpg.xmp", "other/notes.txt", "other/text")
    sources = Sources(["in/*", "**/*", "in/1.jpg.xmp", "other/*"])
    found = [item for item in sources.items(lambda name: True) if item.error]
    assert [item.name for item in found] == ["other/*"]
    assert found[0].error == "it matches no image"
    assert sources.no_images == {"in/*": 2, "**/*": 5, "other/*": 2}
    assert names("in/*", "in/1.jpg.xmp") == ["in/1.jpg", "in/a/2.jpg", "in/1.jpg.xmp"]
    with pytest.raises(InputError, match=r"images: 'other/\*' matches no image; give files"):
        items("other/*")


def test_a_folder_too_large_to_sort_is_listed_all_the_same(monkeypatch) -> None:
    touch(*(f"in/{number}.jpg" for number in range(9)))
    monkeypatch.setattr(walking, "SORTED", 4)
    assert sorted(names("in")) == [f"in/{number}.jpg" for number in range(9)]
    assert sorted(names("in/*.jpg")) == sorted(names("in"))


def test_a_folder_that_cannot_be_read_is_said(monkeypatch) -> None:
    touch("in/a/1.jpg", "in/b/2.jpg", "in/c/3.jpg")
    scandir = os.scandir

    def refusing(folder):
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    found = items("in")
    assert [item.name for item in found] == ["in/a/1.jpg", "in/b", "in/c/3.jpg"]
    assert found[1] == Item("in/b", None, "the folder cannot be read (Permission denied)")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_of_paths(encoding: str) -> None:
    touch("lists/é 1.jpg", "2.jpg", "#3.jpg", "folder/4.jpg", "folder/5.txt", "lists/more.txt")
    lines = ["# a comment", "é 1.jpg", "", "  2.jpg\t", "./#3.jpg", "folder", "gone.jpg", "more.txt"]
    Path("lists/list.txt").write_bytes("\r\n".join(lines).encode(encoding))
    found = ["lists/é 1.jpg", "2.jpg", "#3.jpg", "folder/4.jpg", "gone.jpg", "lists/more.txt"]
    assert names("@lists/list.txt") == found
    assert names("lists/more.txt") == ["lists/more.txt"]  # without @ it is a file like others
    with pytest.raises(InputError, match=r"'@lists/gone.txt' matches no file"):
        items("@lists/gone.txt")


def test_a_list_of_addresses_on_the_hub() -> None:
    addresses = ["hf://datasets/me/photos", "hf://datasets/me/photos@old[test]"]
    Path("list").write_text(f"{addresses[0]} \n \t{addresses[1]}\n")
    assert list(Sources(["@list"]).places()) == [HubRows.of(address) for address in addresses]


def test_a_list_with_names_that_are_not_utf_8() -> None:
    name = os.fsdecode(b"\xff.jpg")
    touch(name)
    Path("list").write_bytes(b"\xff.jpg\n")
    assert names("@list") == [name]


def structs(paths: list[str | None]) -> list[dict[str, object]]:
    return [{"bytes": content, "path": path} for content, path in zip(BYTES, paths, strict=True)]


def test_parquet_of_bytes_of_structs_and_of_paths() -> None:
    touch("table/1.jpg", "0.jpg")
    pq.write_table(pa.table({"n": range(6), "photo": BYTES}), "bytes.parquet", row_group_size=4)
    pq.write_table(pa.table({"image": structs([None] * 6)}), "structs.PARQUET")
    pq.write_table(pa.table({"n": ["x"] * 3, "file": ["0.jpg", "1.jpg", None]}), "table/paths.parquet")
    for file in ("bytes.parquet", "structs.PARQUET"):
        assert items(file) == [Item(f"{file}#{row}", content) for row, content in enumerate(BYTES)]
        done = {f"{file}#{row}" for row in (0, 1, 2, 3, 5)}
        assert items(file, without_names=done) == [Item(f"{file}#4", BYTES[4])]
    assert items("table/paths.parquet") == [
        Item("0.jpg", Path("0.jpg")),
        Item("table/1.jpg", Path("table/1.jpg")),
        Item("table/paths.parquet#2", None, "the row has no image"),
    ]
    assert names("bytes.parquet", id_column="n") == list("012345")
    assert names("table") == ["table/1.jpg"]  # a folder with images is a folder of images
    os.remove("table/1.jpg")
    assert names("table") == ["0.jpg", "1.jpg", "table/paths.parquet#2"]


def test_rows_without_an_image_and_columns_that_cannot_be_told_apart() -> None:
    cells = [b"ok", None, b""]
    pq.write_table(pa.table({"left": cells, "right": cells}), "two.parquet")
    pq.write_table(pa.table({"image": cells, "mask": cells}), "usual.parquet")
    pq.write_table(pa.table({"label": ["a"]}), "none.parquet")
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), "empty.parquet")
    Path("broken.parquet").write_bytes(b"PAR1 and no more")
    (found,) = items("two.parquet")
    assert "several columns of images ('left', 'right'): name one by image_column" in found.error
    expected = [
        Item("two.parquet#0", b"ok"),
        Item("two.parquet#1", None, "the row has no image"),
        Item("two.parquet#2", b""),
    ]
    assert items("two.parquet", image_column="right") == expected
    assert [item.image for item in items("usual.parquet")] == [b"ok", None, b""]
    (found,) = items("usual.parquet", image_column="img")
    assert found.error == "cannot be used: it has no column 'img', but 'image', 'mask'"
    (found,) = items("none.parquet")
    assert found.error == "cannot be used: it has no column of images or paths, but 'label'"
    assert items("empty.parquet") == []
    (found,) = items("broken.parquet")
    assert found.name == "broken.parquet"
    assert found.error


def test_rows_that_cannot_be_read_leave_the_others() -> None:
    rng = np.random.default_rng(0)
    cells = [rng.bytes(5000) for _ in range(6)]
    pq.write_table(pa.table({"image": cells}), "a.parquet", row_group_size=2, compression="zstd", use_dictionary=False)
    content = bytearray(Path("a.parquet").read_bytes())
    start = content.index(cells[2][:50])
    content[start - 60 : start + 40] = bytes(100)
    Path("a.parquet").write_bytes(content)
    found = items("a.parquet")
    assert [item.name for item in found] == [
        "a.parquet#0",
        "a.parquet#1",
        "a.parquet#2-3",
        "a.parquet#4",
        "a.parquet#5",
    ]
    assert found[2].error.startswith("these rows cannot be read: ")


def test_a_bad_row_leaves_the_others() -> None:
    cells = pa.array([None, b"a.jpg", b"\xff.jpg", b"x" * 5000 + b".jpg", b"c.jpg"])
    texts = pa.Array.from_buffers(pa.string(), len(cells), cells.buffers())
    pq.write_table(pa.table({"file": texts}), "paths.parquet")
    found = items("paths.parquet")
    named = [f"paths.parquet#{row}" if row in (0, 2) else cells[row].as_py().decode() for row in range(5)]
    assert [item.name for item in found] == named
    assert [item.image for item in found] == [None if row in (0, 2) else Path(named[row]) for row in range(5)]
    assert "'utf-8' codec can't decode byte 0xff" in found[2].error
    pq.write_table(pa.table({"image": BYTES[:5], "key": texts}), "keys.parquet")
    found = items("keys.parquet", id_column="key")
    assert [item.image for item in found] == [*BYTES[:2], None, *BYTES[3:5]]
    assert (found[0].name, found[1].name) == ("keys.parquet#0", "a.jpg")
    assert found[2].error.startswith("its name cannot be read: 'utf-8' codec")


def test_a_row_of_a_data_set_that_cannot_be_read_leaves_the_others(monkeypatch) -> None:
    class Broken(list):
        def __getitem__(self, row):
            if row == 1:
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
            return super().__getitem__(row)

    datasets.Dataset.from_dict({"image": BYTES[:3]}).save_to_disk("one")
    monkeypatch.setattr(containers, "_cells", lambda *_: (Broken(BYTES[:3]), None))
    found = items("one")
    assert [item.image for item in found] == [BYTES[0], None, BYTES[2]]
    assert found[1].name == "one#1"
    assert found[1].error.startswith("the row cannot be read: 'utf-8' codec")


def test_a_name_of_two_rows_is_an_error_of_the_second() -> None:
    """A file that is given twice has its images twice, which is none."""
    for file, start in (("1.parquet", 0), ("2.parquet", 3)):
        pq.write_table(pa.table({"image": BYTES[start : start + 3], "key": list("aab")}), file)
    lookup = Lookup()
    given = ["1.parquet", "2.parquet", "1.parquet"]
    found = list(Sources(given, id_column="key").items(lookup.ask))
    told = "its name, '{}' in 'key', is that of another row: give one that differs"
    assert found == [
        Item("a", BYTES[0]),
        Item("1.parquet#1", None, told.format("a")),
        Item("b", BYTES[2]),
        *(Item(f"2.parquet#{row}", None, told.format(key)) for row, key in enumerate("aab")),
    ]
    assert lookup.repeated == 3


def test_files_of_many_images_beside_images_are_said() -> None:
    touch("in/cover.jpg", "in/a/s.parquet", "in/a/t.tar", "in/.hidden.tar", "images/1.jpg", "images/.t.tar")
    write_tar("tars.tar", {"1.jpg": b"one"})
    sources = Sources(["in", "images", "tars.tar"])
    assert [item.name for item in sources.items(lambda name: True)] == [
        "in/cover.jpg",
        "images/1.jpg",
        "tars.tar/1.jpg",
    ]
    assert list(sources.passed_over) == ["in"]
    assert sources.passed_over["in"] in ("s.parquet", "t.tar")


def test_links_in_a_tar_are_errors() -> None:
    touch("t/a.jpg")
    os.link("t/a.jpg", "t/b.jpg")
    os.symlink("a.jpg", "t/c.jpg")
    os.symlink("a.txt", "t/c.txt")
    with tarfile.open("t.tar", "w") as tar:
        for name in ("a.jpg", "b.jpg", "c.jpg", "c.txt"):
            tar.add(f"t/{name}")
    first, *links = items("t.tar")
    assert first == Item("t.tar/t/a.jpg", b"x")
    told = "it is a link to '{}': pack the archive with copies instead of links"
    assert links == [
        Item(f"t.tar/t/{name}", None, told.format(of)) for name, of in (("b.jpg", "t/a.jpg"), ("c.jpg", "a.jpg"))
    ]


def write_tar(path: str, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


MEMBERS = {"./a/1.jpg": b"one", "a/1.json": b"{}", "a/1.txt": b"dog", "b/2.PNG": b"two" * 999, "b/._3.jpg": b"no"}


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz"])
def test_a_tar_gives_its_images(ending: str) -> None:
    file = f"s.{ending}"
    write_tar(file, MEMBERS, "w" if ending == "tar" else "w:gz")
    assert items(file) == [Item(f"{file}/a/1.jpg", b"one"), Item(f"{file}/b/2.PNG", b"two" * 999)]
    assert names(file, without_names=[f"{file}/a/1.jpg"]) == [f"{file}/b/2.PNG"]
    Path("shards").mkdir()
    os.rename(file, f"shards/{file}")
    assert names("shards") == [f"shards/{file}/a/1.jpg", f"shards/{file}/b/2.PNG"]


@pytest.mark.parametrize("ending", ["tar", "tgz"])
def test_a_tar_that_was_cut_off_gives_what_it_has_and_says_so(ending: str) -> None:
    rng = np.random.default_rng(0)
    members = {f"{number}.jpg": rng.bytes(1500) for number in range(4)}
    write_tar(f"whole.{ending}", members, "w" if ending == "tar" else "w:gz")
    whole = Path(f"whole.{ending}").read_bytes()
    for length in range(0, 7000 if ending == "tar" else len(whole) - 1, 256):
        Path(f"cut.{ending}").write_bytes(whole[:length])
        *found, last = items(f"cut.{ending}")
        assert last.name == f"cut.{ending}", length
        assert last.error, length
        assert [item.image for item in found] == [*members.values()][: len(found)]
    Path("no.tar").write_bytes(b"text")
    (found,) = items("no.tar")
    assert found.error.startswith("cannot be read after 0 images")
    write_tar("text.tar", {"a.txt": b"text"})
    assert items("text.tar") == [Item("text.tar", None, "holds no file that ends like an image")]


def test_a_data_set_that_datasets_saved() -> None:
    buffers = []
    for level in range(3):
        Image.new("L", (2, 2), level).save(buffer := io.BytesIO(), "PNG")
        buffers.append(buffer.getvalue())
    columns = {"image": [{"bytes": content, "path": None} for content in buffers], "key": list("abc")}
    features = datasets.Features({"image": datasets.Image(), "key": datasets.Value("string")})
    saved = datasets.Dataset.from_dict(columns, features)
    saved.save_to_disk("one")
    datasets.DatasetDict({"train": saved, "test": saved.select([2])}).save_to_disk("two")
    assert items("one") == [Item(f"one#{row}", content) for row, content in enumerate(buffers)]
    assert names("one", id_column="key") == ["a", "b", "c"]
    assert names("two") == ["two[train]#0", "two[train]#1", "two[train]#2", "two[test]#0"]
    (found,) = items("one", image_column="photo")
    assert "it has no column 'photo'" in found.error


def test_the_folder_of_the_output_is_passed_over() -> None:
    pq.write_table(pa.table({"image": BYTES}), "a.parquet")
    Path("in/out").mkdir(parents=True)
    os.rename("a.parquet", "in/a.parquet")
    pq.write_table(pa.table({"path": ["a.jpg"], "error": ["x"]}), "in/out/part-000000.parquet")
    assert len(names("in", without=Path("in/out").resolve())) == 6
