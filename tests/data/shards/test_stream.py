"""A stream shows every row exactly once an epoch, in an order that goes on from any batch."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sct_hf.data import load_data
from sct_hf.data.base import LabelledImages
from sct_hf.data.shards import stream
from sct_hf.data.shards.index import Shard, ShardIndex
from sct_hf.data.shards.rows import Row
from sct_hf.data.shards.stream import ShardBatches, StreamedRow
from sct_hf.data.shards.write import write_shards
from sct_hf.errors import InputError


class Numbered:
    """A format without files: the image of a row is its number in the shard, and the name of the shard."""

    def __init__(self, rows: dict[str, int]) -> None:
        self.shards = rows

    def rows(self, files: list[Path], columns: Any, *, skip: int = 0) -> Any:
        every = [(file.name, row) for file in files for row in range(self.shards[file.name])]
        return (Row("", {"bytes": key}, [key[1] % 2], []) for key in every[skip:])


def index_of(rows: list[int], size: int = 1000) -> ShardIndex:
    starts = np.concatenate([[0], np.cumsum(rows)]).tolist()
    shards = tuple(
        Shard(f"{number}.parquet", count, size, "", {}, {}, 0, start)
        for number, (count, start) in enumerate(zip(rows, starts, strict=False))
    )
    return ShardIndex(Path("folder"), ["a", "b"], shards, {}, Path("folder"))


def batches(sampler: ShardBatches, epoch: int, first: int = 0) -> list[list[StreamedRow]]:
    sampler.start(epoch, first)
    return list(sampler)


def numbers(found: list[list[StreamedRow]]) -> list[list[int]]:
    return [[row.number for row in batch] for batch in found]


@given(
    rows=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    batch_size=st.integers(1, 12),
    processes=st.integers(1, 4),
    block=st.integers(1, 50),
    seed=st.integers(0, 3),
    data=st.data(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_once_from_any_batch_on(
    rows: list[int],
    batch_size: int,
    processes: int,
    block: int,
    seed: int,
    data: st.DataObject,
) -> None:
    index = index_of(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_BLOCK_ROWS", block)
        patch.setattr(stream, "format_of", lambda _: Numbered({shard.file: shard.rows for shard in index.shards}))
        try:
            samplers = [ShardBatches(index, batch_size, seed, each, processes) for each in range(processes)]
        except InputError:
            return  # too few or too uneven shards, tested below
        found = [batches(sampler, 1) for sampler in samplers]
        # Each row once over all processes, with the image that is there.
        every = [row for part in found for batch in part for row in batch]
        assert Counter(row.number for row in every) == Counter(range(sum(rows)))
        for row in every:
            file, place = row.image["bytes"]
            assert index.shards[int(file.split(".")[0])].start + place == row.number
            assert row.marks.tolist() == ([0, 1] if place % 2 else [1, 0])
        # Equally many batches, never empty or too large, of sizes that differ by one at most.
        assert len({len(part) for part in found}) == 1
        assert {len(sampler) for sampler in samplers} == {len(found[0])}
        assert len(found[0]) == max(math.ceil(sum(map(len, part)) / batch_size) for part in found)
        for part in found:
            sizes = [len(batch) for batch in part]
            assert 1 <= min(sizes) <= max(sizes) <= batch_size
            assert max(sizes) - min(sizes) <= 1
        # The same order after going on from any batch, in a process that starts anew.
        first = data.draw(st.integers(0, len(found[0]) - 1))
        for process in range(processes):
            again = ShardBatches(index, batch_size, seed, process, processes)
            assert numbers(batches(again, 1, first)) == numbers(found[process])[first:]


def test_epochs_and_seeds_have_other_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of([30, 30, 30])
    monkeypatch.setattr(stream, "format_of", lambda _: Numbered({shard.file: shard.rows for shard in index.shards}))
    orders = [numbers(batches(ShardBatches(index, 90, seed), epoch))[0] for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    # A block spans shards, so that a batch is no slice of one of them.
    assert {number // 30 for number in orders[0][:15]} == {0, 1, 2}


def test_a_block_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of([50, 50], size=int(50 * 40e6))  # of 40 MB images
    sampler = ShardBatches(index, 10, 0)
    assert sampler._block == 3


def test_going_on_opens_no_earlier_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    index, opened = index_of([20] * 10), []
    source = Numbered({shard.file: shard.rows for shard in index.shards})

    def rows(files: list[Path], columns: Any, *, skip: int = 0) -> Any:
        opened.append((len(files), skip))
        return Numbered.rows(source, files, columns, skip=skip)

    monkeypatch.setattr(source, "rows", rows)
    monkeypatch.setattr(stream, "format_of", lambda _: source)
    monkeypatch.setattr(stream, "_BLOCK_ROWS", 10)
    batches(ShardBatches(index, 10, 0), 0, 15)
    assert opened == [(3, 10)]  # of 200 rows 150 are done: the eighth shard from its eleventh row on


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_rows_of_real_shards(tmp_path: Path, images: LabelledImages, kind: str) -> None:
    """Images and marks of each row are those of the listed images, from the start and from the middle."""
    index = write_shards(images, tmp_path / "train", kind=kind, count=4, seed=0)
    listed = load_data("shards", "train", data_dir=tmp_path)
    found = [ShardBatches(index, 3, 0, process, 2) for process in range(2)]
    rows = [row for sampler in found for batch in batches(sampler, 0) for row in batch]
    assert sorted(row.number for row in rows) == list(range(23))
    for row in rows:
        assert row.image["bytes"] == listed.encoded(row.number)["bytes"]
        assert row.marks.tolist() == listed.marks[row.number].tolist()
    assert numbers(batches(found[0], 0, 2)) == numbers(batches(found[0], 0))[2:]


def test_too_few_or_uneven_shards() -> None:
    with pytest.raises(InputError, match="has 1 shards to train on, for 2 processes"):
        ShardBatches(index_of([10]), 2, 0, 0, 2)
    with pytest.raises(InputError, match="has 1 images for one process and 10 for another"):
        ShardBatches(index_of([10, 1]), 2, 0, 0, 2)


def test_a_shard_with_fewer_rows_than_its_index_says(monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of([10, 10])
    monkeypatch.setattr(stream, "format_of", lambda _: Numbered({"0.parquet": 10, "1.parquet": 9}))
    with pytest.raises(InputError, match="has fewer images than its index says"):
        batches(ShardBatches(index, 4, 0), 0)


def test_whole_shards_are_held_out() -> None:
    index = index_of([10, 20, 30, 40, 50])
    rest, out = index.holdout(0.4, 0)
    assert len(out.shards) == 2
    assert sorted([*rest.numbers, *out.numbers]) == list(range(150))
    assert [shard.start for shard in index.holdout(0.4, 0)[1].shards] == [shard.start for shard in out.shards]
    assert {index.holdout(0.01, seed)[1].shards[0].start for seed in range(20)} > {0}
    assert len(index.holdout(0.99, 0)[0].shards) == 1
    with pytest.raises(InputError, match="has one shard, and whole shards are held out"):
        index_of([10]).holdout(0.1, 0)
