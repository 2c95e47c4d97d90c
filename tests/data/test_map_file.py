"""Maps on a disk that is full: a real one where the system lets a small one be mounted."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from sct_hf.data.map_file import MapFile
from sct_hf.errors import InputError

FULL = r"cache_dir is '{}': the cached maps need 2,000,000 bytes, but [\d,]+ are free there\. Name a folder with more"
SHAPE = (10, 1, 100_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    words = [mount, "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if mount is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk, where the system lets it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a quota does, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_small_disk(small_disk: Path) -> None:
    with pytest.raises(InputError, match="need 2,000,000 bytes, but 1,048,576 are free there"):
        MapFile(small_disk / "maps.partial", "key").create(SHAPE)
    assert not list(small_disk.iterdir())


def test_a_disk_that_another_process_fills(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There was room when it was asked for."""
    usage = shutil.disk_usage(small_disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    file = MapFile(small_disk / "maps.partial", "key")
    if hasattr(os, "posix_fallocate"):
        with pytest.raises(InputError, match=FULL.format(small_disk)):
            file.create(SHAPE)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    file.create(SHAPE)
    with pytest.raises(InputError, match=FULL.format(small_disk)):
        file.write(np.arange(10), np.ones(SHAPE, np.float16))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no room")
def test_a_file_that_may_not_grow_is_not_begun(tmp_path: Path) -> None:
    with files_of_at_most(1_000_000), pytest.raises(InputError, match=FULL.format(tmp_path)):
        MapFile(tmp_path / "maps.partial", "key").create(SHAPE)


def test_a_file_that_may_not_grow_where_no_room_is_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    file = MapFile(tmp_path / "maps.partial", "key")
    with files_of_at_most(1_000_000):
        file.create(SHAPE)
        with pytest.raises(InputError, match=FULL.format(tmp_path)):
            file.write(np.arange(10), np.ones(SHAPE, np.float16))


def test_rows_in_any_order_and_by_several_writers(tmp_path: Path) -> None:
    path = tmp_path / "maps"
    values = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float16)
    MapFile(path, "key").create(values.shape)
    for rows in ([4, 1], [0], [5, 3, 2]):
        MapFile(path, "key").write(np.array(rows), values[rows])
    assert not MapFile(path, "key").is_whole()
    MapFile(path, "key").seal()
    assert MapFile(path, "key").is_whole()
    assert not MapFile(path, "another key").is_whole()
    np.testing.assert_array_equal(np.load(path, mmap_mode="r"), values)


def test_a_folder_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    with pytest.raises(InputError, match=r"where no maps can be written \(Is a directory\): name another folder"):
        MapFile(tmp_path / "maps", "key").create((1, 1, 1))
