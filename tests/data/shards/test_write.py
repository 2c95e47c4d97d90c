"""Shards hold every image once, as it was, and nothing is left of a call that was stopped."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from sct_hf.data import load_data
from sct_hf.data.base import LabelledImages
from sct_hf.data.contents import image_contents
from sct_hf.data.image_sources import ImageColumn
from sct_hf.data.shards import write
from sct_hf.data.shards.write import write_shards
from sct_hf.errors import InputError
from sct_hf.files import sha256_of_file


def as_rows(images: LabelledImages) -> dict[str, tuple[bytes, list[int]]]:
    """Bytes and marks by image id."""
    found = {}
    for row, image_id in enumerate(images.image_ids):
        encoded = images.encoded(row)
        data = encoded["bytes"] or Path(encoded["path"]).read_bytes()
        found[image_id] = (data, images.marks[row].tolist())
    return found


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_every_image_comes_back(tmp_path: Path, images: LabelledImages, kind: str) -> None:
    index = write_shards(images, tmp_path / "shards" / "train", kind=kind, count=4, seed=0)
    assert sorted(shard.rows for shard in index.shards) == [5, 6, 6, 6]
    back = load_data("shards", "train", data_dir=tmp_path / "shards")
    assert as_rows(back) == as_rows(images)
    assert back.label_names == images.label_names
    assert back.image_ids != images.image_ids  # in random order
    again = load_data("shards", "train", data_dir=tmp_path / "shards" / "train")  # the folder itself
    assert as_rows(again) == as_rows(images)


def test_counts_are_those_of_the_targets(tmp_path: Path, images: LabelledImages) -> None:
    index = write_shards(images, tmp_path / "train", kind="parquet", count=4, seed=0)
    counts, targets = index.counts(), images.targets()
    assert counts.positives.tolist() == (targets == 1).sum(axis=0).tolist()
    assert counts.negatives.tolist() == (targets == 0).sum(axis=0).tolist()
    assert counts.unknown.tolist() == (targets == -1).sum(axis=0).tolist()
    assert sum(shard.unlabelled for shard in index.shards) == (~(targets == 1).any(axis=1)).sum()
    part = index.only([1, 3])
    back = load_data("shards", "train", data_dir=tmp_path).select(part.numbers)
    assert part.counts().positives.tolist() == (back.targets() == 1).sum(axis=0).tolist()
    for shard, file in zip(index.shards, index.files, strict=True):
        assert (shard.sha256, shard.size) == (sha256_of_file(file), file.stat().st_size)
    assert (tmp_path / "train" / "contents.txt").read_text().split() == image_contents(
        load_data("shards", "train", data_dir=tmp_path)
    )


def test_other_programs_read_them(tmp_path: Path, images: LabelledImages) -> None:
    """Parquet as a data set of `datasets`, and the pairs of members that WebDataset expects."""
    write_shards(images, tmp_path / "parquet", kind="parquet", count=2, seed=0)
    assert as_rows(load_data(str(tmp_path / "parquet"), "train")) == as_rows(images)
    assert pq.ParquetFile(tmp_path / "parquet" / "shard-00000.parquet").metadata.num_rows == 12
    write_shards(images, tmp_path / "tar", kind="tar", count=2, seed=0)
    with tarfile.open(tmp_path / "tar" / "shard-00001.tar") as archive:
        names = archive.getnames()
        told = json.load(archive.extractfile(names[1]))  # type: ignore[arg-type]
    assert len(names) == 22
    assert names[:2] == ["00000000.png", "00000000.json"]
    assert told.keys() == {"image_id", "labels", "unknown"}


def test_the_seed_decides_the_order(tmp_path: Path, images: LabelledImages) -> None:
    def ids(name: str, seed: int) -> list[str]:
        write_shards(images, tmp_path / name, kind="parquet", count=3, seed=seed)
        return load_data("shards", "train", data_dir=tmp_path / name).image_ids

    assert ids("one", 0) == ids("two", 0) != ids("three", 1)


def test_a_stopped_call_goes_on(tmp_path: Path, images: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = write_shards(images, tmp_path / "whole", kind="parquet", count=4, seed=0)
    read: list[int] = []

    def rows(images: LabelledImages, rows: np.ndarray) -> Any:
        read.extend(rows.tolist())
        if len(read) > 12:
            raise KeyboardInterrupt
        return usual(images, rows)

    usual = write._rows
    monkeypatch.setattr(write, "_rows", rows)
    with pytest.raises(KeyboardInterrupt):
        write_shards(images, tmp_path / "stopped", kind="parquet", count=4, seed=0)
    assert not (tmp_path / "stopped").exists()
    read.clear()
    monkeypatch.setattr(write, "_rows", lambda *args: read.extend(args[1].tolist()) or usual(*args))
    index = write_shards(images, tmp_path / "stopped", kind="parquet", count=4, seed=0)
    assert len(read) == 11  # of the two shards that were missing
    assert [shard.sha256 for shard in index.shards] == [shard.sha256 for shard in undisturbed.shards]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_another_plan_starts_again(tmp_path: Path, images: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "index_shards", stop)
        with pytest.raises(KeyboardInterrupt):
            write_shards(images, tmp_path / "train", kind="parquet", count=4, seed=0)
    write_shards(images, tmp_path / "train", kind="parquet", count=4, seed=1)
    write_shards(images, tmp_path / "other", kind="parquet", count=4, seed=1)
    one, two = (load_data("shards", "train", data_dir=tmp_path / name).image_ids for name in ("train", "other"))
    assert one == two


@pytest.mark.parametrize("column", [False, True], ids=["files", "column"])
def test_changed_images_start_again(
    tmp_path: Path, images: LabelledImages, monkeypatch: pytest.MonkeyPatch, column: bool
) -> None:
    """Images with the same names and labels, but other content, are not mixed with those of a stopped call."""

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def read() -> LabelledImages:
        if not column:
            return images
        cells = [{"bytes": data, "path": None} for data, _ in as_rows(images).values()]
        column_of_bytes = Dataset.from_dict({"image": cells}, features=Features({"image": ImageFeature()}))
        return replace(images, source=ImageColumn(column_of_bytes))

    with monkeypatch.context() as patch:
        patch.setattr(write, "index_shards", stop)
        with pytest.raises(KeyboardInterrupt):
            write_shards(read(), tmp_path / "train", kind="parquet", count=4, seed=0)
    changed = Path(images.encoded(5)["path"])
    Image.new("RGB", (9, 9)).save(changed)
    assert as_rows(read())["p5"][0] == changed.read_bytes()
    write_shards(read(), tmp_path / "train", kind="parquet", count=4, seed=0)
    assert as_rows(load_data("shards", "train", data_dir=tmp_path)) == as_rows(images)


def test_the_current_folder_is_refused(
    tmp_path: Path, images: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for folder in (Path("."), Path.cwd()):
        with pytest.raises(InputError, match="the folder that you are in"):
            write_shards(images, folder, kind="parquet", count=2, seed=0)
    write_shards(images, Path("train"), kind="parquet", count=2, seed=0)


def test_a_folder_with_files_is_not_touched(tmp_path: Path, images: LabelledImages) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="has files: name another folder"):
        write_shards(images, tmp_path, kind="parquet", count=2, seed=0)
    with pytest.raises(InputError, match=r"shards is 24, but there are 23 images"):
        write_shards(images, tmp_path / "new", kind="parquet", count=24, seed=0)
