"""What is sent to Ray's workers, without Ray: every image that is wanted comes once, or has an error."""

import io
import tarfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from sct_hf.inference import ray_data
from sct_hf.inference.ray_data import _read, _received, _units
from sct_hf.inference.sources import Sources
from sct_hf.inference.tagger import Tags


def sent(*inputs: Path, done: frozenset[str] = frozenset(), **columns: str) -> dict[str, str | None]:
    """Names and errors of what the workers would tag, and of what is refused before."""
    asked: set[str] = set()

    def wanted(name: str) -> bool:
        is_new = name not in asked and name not in done
        asked.add(name)
        return is_new

    found: dict[str, str | None] = {}
    for unit in _units(Sources(inputs, **columns), wanted):
        one = {unit.name: unit.error} if isinstance(unit, Tags) else {}
        items = [] if isinstance(unit, Tags) else [item for chunk in _read(unit) for item in _received(chunk)]
        one |= {item.name: item.error for item in items}
        assert len(one) == max(1, len(items))
        assert not one.keys() & found.keys()
        found |= one
    return found


def table(path: Path, **columns: list[object]) -> Path:
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2, **plain)
    return path


def test_rows_of_a_damaged_group_have_an_error_each(tmp_path: Path) -> None:
    shard = table(tmp_path / "shard.parquet", image=[bytes([48 + number]) * 3000 for number in range(6)])
    content = shard.read_bytes()
    place = content.index(b"2" * 3000) - 40  # in the header of the second group's page
    shard.write_bytes(content[:place] + b"\xff" * 60 + content[place + 60 :])
    found = sent(shard)
    assert list(map(str, found)) == [f"{shard}#{row}" for row in (0, 1, 4, 5, 2, 3)]
    assert [error is not None for error in found.values()] == [False] * 4 + [True] * 2
    assert all("shard.parquet" in error for error in found.values() if error)


def test_what_is_done_is_not_sent(tmp_path: Path) -> None:
    shard = table(tmp_path / "shard.parquet", image=[b"x"] * 5)
    found = sent(shard, done=frozenset([f"{shard}#1", f"{shard}#4"]))
    assert list(found) == [f"{shard}#{row}" for row in (0, 2, 3)]


def test_a_name_that_repeats_is_sent_once(tmp_path: Path) -> None:
    shard = table(tmp_path / "shard.parquet", image=[b"x", b"y", b"z"], key=["a", "b", "a"])
    assert set(sent(shard, id_column="key")) >= {"a", "b"}


def test_names_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    """Of files and of members of tars; the others are sent."""
    odd = "\udce9.jpg"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in (odd, "plain.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"text"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / odd).write_bytes(b"text")
    (tmp_path / "files" / "plain.jpg").write_bytes(b"text")
    found = sent(tmp_path / "a.tar", tmp_path / "files")
    assert {name for name, error in found.items() if error and "UTF-8" in error} == {
        f"{tmp_path / 'a.tar'}/{odd}",
        str(tmp_path / "files" / odd),
    }
    assert len(found) == 4


def test_chunks_are_cut_by_images_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = table(tmp_path / "shard.parquet", image=[bytes(size) for size in (3, 3, 1, 1, 1, 9)])
    monkeypatch.setattr(ray_data, "CHUNK", 3)
    monkeypatch.setattr(ray_data, "_BYTES", 5)
    (unit,) = _units(Sources([shard]), lambda name: True)
    assert isinstance(unit, dict)
    assert [[len(image) for image in chunk["image"]] for chunk in _read(unit)] == [[3, 3], [1, 1, 1], [9]]
