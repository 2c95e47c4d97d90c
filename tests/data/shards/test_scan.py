"""Shards of other programs are indexed once, and whatever does not fit their index is refused."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from sct_hf.data import load_data
from sct_hf.data.base import LabelledImages
from sct_hf.data.problems import DataError
from sct_hf.data.recognise import recognise
from sct_hf.data.shards.images import ShardImages, StreamedImages
from sct_hf.data.shards.stream import ShardBatches
from sct_hf.data.shards.write import write_shards
from sct_hf.errors import InputError
from sct_hf.training.run_data import RunData


def encoded(number: int, kind: str = "png") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def write_tar(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for key, parts in samples.items():
            for suffix, data in parts.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def sample(number: int, *labels: Any, kind: str = "png") -> dict[str, bytes]:
    return {kind: encoded(number, kind.replace("jpg", "jpeg")), "json": json.dumps({"labels": labels}).encode()}


def write_parquet(path: Path, labels: list[Any], **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": encoded(number), "path": None} for number in range(len(labels))]
    pq.write_table(pa.table({"image": images, "labels": labels, **columns}), path)


def test_archives_of_another_program(tmp_path: Path) -> None:
    """Endings may differ, even after the first images; members of other kinds and folders are passed over."""
    for number in (0, 1):
        samples = {f"set/{number}-{place}": sample(place, "b", "a" if place % 2 else "c") for place in range(7)}
        samples[f"set/{number}-6"] = sample(99, kind="jpg") | {"txt": b"a caption"}
        write_tar(tmp_path / f"train-{number}.tar", samples)
    images = load_data("shards", "train", data_dir=tmp_path)
    assert images.label_names == ["a", "b", "c"]
    assert len(images) == 14
    assert images.image_ids[7] == "set/1-0"
    assert images.marks[:7].tolist() == [[0, 1, 1], [1, 1, 0], [0, 1, 1], [1, 1, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]]
    assert images.encoded(13)["bytes"] == encoded(99, "jpeg")
    assert images.encoded(8)["bytes"] == encoded(1)


def test_tables_of_another_program(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "train-00000.parquet", [["a", "b"], []], image_id=["x", "y"])
    write_parquet(tmp_path / "data" / "train-00001.parquet", [["b"], ["a"]], image_id=["z", "w"])
    write_parquet(tmp_path / "data" / "test-00000.parquet", [["b"]], image_id=["t"])
    images = load_data("shards", "train", data_dir=tmp_path)
    assert (images.image_ids, images.label_names) == (["x", "y", "z", "w"], ["a", "b"])
    assert images.marks.tolist() == [[1, 1], [0, 0], [0, 1], [1, 0]]
    assert images.encoded(3)["bytes"] == encoded(1)


@pytest.mark.parametrize("inner", ["", "data"])
def test_splits_in_one_folder_have_their_own_index(tmp_path: Path, inner: str) -> None:
    """The first image of each split has number 0, and is not the same image."""
    write_parquet(tmp_path / inner / "train-00000-of-00001.parquet", [["a", "b"], ["b"]], image_id=["x", "y"])
    write_parquet(tmp_path / inner / "test-00000-of-00001.parquet", [["b"], ["a"]], image_id=["t", "u"])
    for _ in range(2):
        assert load_data("shards", "train", data_dir=tmp_path).image_ids == ["x", "y"]
        assert load_data("shards", "test", data_dir=tmp_path).image_ids == ["t", "u"]
    train, test = (load_data("shards", split, data_dir=tmp_path) for split in ("train", "test"))
    assert isinstance(train.source, ShardImages)
    streamed = StreamedImages(train.source.index, "shards", "train")
    assert (streamed.holds(train.source), streamed.holds(test.source)) == (2, 0)
    for training in (streamed, train):
        assert RunData(training, training, None, test).scored_in_training() == 0
    others = load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))  # indices are no data files
    assert others["image_id"] == ["x", "y"]


def test_a_folder_with_signs_of_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "my[set]*?"
    write_parquet(folder / "train-[0].parquet", [["a"], ["b"]], image_id=["x", "y"])
    write_parquet(folder / "train-[1].parquet", [["b"]], image_id=["z"])
    images = load_data("shards", "train", data_dir=folder)
    assert isinstance(images.source, ShardImages)
    rows = [row for batch in ShardBatches(images.source.index, 2, 0) for row in batch]
    assert {row.number: row.image["bytes"] for row in rows} == {0: encoded(0), 1: encoded(1), 2: encoded(0)}


def test_members_with_two_endings_are_other_images(tmp_path: Path) -> None:
    """A key ends at the first dot, so `0.depth.png` is no image `0.png`, and `0.meta.json` no labels `0.json`."""
    samples = {
        f"v1.0/{number}": {"depth.png": encoded(50 + number)}
        | sample(number, "a", "b", kind="jpg")
        | {"meta.json": b'{"labels": ["x"]}'}
        for number in range(3)
    }
    samples["v1.0/"] = {"_1.png": b"what macOS adds"}
    write_tar(tmp_path / "train-0.tar", samples)
    images = load_data("shards", "train", data_dir=tmp_path)
    assert (images.label_names, images.image_ids) == (["a", "b"], ["v1.0/0", "v1.0/1", "v1.0/2"])
    assert [images.encoded(row)["bytes"] for row in range(3)] == [encoded(row, "jpeg") for row in range(3)]


def test_a_folder_is_indexed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tar(tmp_path / "train" / "0.tar", {f"{number}": sample(number, "a", "b") for number in range(3)})
    first = load_data("shards", "train", data_dir=tmp_path)
    monkeypatch.setattr("sct_hf.data.shards.scan.index_shards", lambda *_, **__: pytest.fail("indexed twice"))
    assert load_data("shards", "train", data_dir=tmp_path).image_ids == first.image_ids


def test_the_index_of_a_read_only_folder_is_kept_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sct_hf.data.shards.scan.os.access", lambda *_: False)
    write_tar(tmp_path / "train" / "0.tar", {f"{number}": sample(number, "a", "b") for number in range(3)})
    assert len(load_data("shards", "train", data_dir=tmp_path, cache_dir=tmp_path / "cache")) == 3
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["0.tar"]
    assert len([*(tmp_path / "cache").glob("*/shards.json")]) == 1


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"0": sample(0, "a", "b"), "1": {"png": encoded(1)[:40], "json": b"{}"}}, "row 1: image '1' is broken"),
        ({"0": sample(0, "a", 3)}, "row 0: has the number 3, but nothing says which label it is"),
        ({"0": sample(0, "a")}, "there is 1 label: give at least two"),
        ({"0": {"png": encoded(0)}}, "image '0' has no member 0.json"),
        ({"0": {"png": encoded(0), "json": b"[1]"}}, "image '0' has no JSON object in 0.json"),
        ({"0": sample(0, "a", "b") | {"JPG": encoded(1)}}, "image '0' has several members, 0.png and 0.JPG"),
        ({"0.v1": sample(0, "a", "b")}, "0.v1.png has two endings, and image '0' has no member with one"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, samples: dict[str, dict[str, bytes]], message: str) -> None:
    write_tar(tmp_path / "train-0.tar", samples)
    with pytest.raises(InputError) as caught:
        load_data("shards", "train", data_dir=tmp_path)
    assert message in str(caught.value)
    assert not [*tmp_path.rglob("shards.json")]


def test_labels_of_a_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", [[0, 2], [1]])
    images = load_data("shards", "train", data_dir=tmp_path, label_names=["a", "b", "c"])
    assert images.marks.tolist() == [[1, 0, 1], [0, 1, 0]]
    with pytest.raises(InputError, match="labels_file has 2 labels"):
        load_data("shards", "train", data_dir=tmp_path, label_names=["a", "b"])


def test_a_label_that_is_not_given(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", [["a", "x"], ["b"]])
    with pytest.raises(DataError, match="label 'x' is not one of the 2 labels given"):
        load_data("shards", "train", data_dir=tmp_path, label_names=["a", "b"])


@pytest.mark.parametrize("damage", ["missing", "shorter", "one more", "index", "contents"])
def test_shards_that_are_not_those_of_the_index(tmp_path: Path, images: LabelledImages, damage: str) -> None:
    folder = tmp_path / "train"
    write_shards(images, folder, kind="parquet", count=3, seed=0)
    shard = folder / "shard-00001.parquet"
    told = {
        "missing": (shard.unlink, "shard-00001.parquet cannot be read"),
        "shorter": (lambda: shard.write_bytes(shard.read_bytes()[:-1]), "but"),
        "one more": (lambda: (folder / "new.parquet").write_bytes(b"x"), "new.parquet is not in"),
        "index": (lambda: (folder / "shards.json").write_text('{"version": 1}'), "cannot be read ('shards')"),
        "contents": (lambda: (folder / "contents.txt").write_text("abc\n"), "contents.txt cannot be read"),
    }
    change, message = told[damage]
    change()
    with pytest.raises(InputError) as caught:
        load_data("shards", "train", data_dir=folder)
    assert message in str(caught.value)
    assert "remove" in str(caught.value)


def test_no_shards(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no shards of it"):
        load_data("shards", "train", data_dir=tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="it needs files that end in"):
        load_data("shards", "train", data_dir=tmp_path)


def test_a_folder_of_shards_is_recognised(tmp_path: Path, images: LabelledImages) -> None:
    write_shards(images, tmp_path / "train", kind="parquet", count=3, seed=0)
    write_shards(images, tmp_path / "test", kind="parquet", count=3, seed=0)
    place = recognise(tmp_path)
    assert (place.dataset, place.options, place.evaluation) == (
        "shards",
        {"data_dir": str(tmp_path)},
        {"eval_split": "test"},
    )
    alone = recognise(tmp_path / "train")
    assert (alone.dataset, alone.evaluation) == ("shards", {})  # no second split of the same images
