"""The order in which training reads shards: every image once an epoch, from any batch on.

Shards are dealt to the processes once. In each epoch a process draws an order of its shards, reads them block by
block, and shuffles each block. All of this depends on seed, epoch and process alone, and the index knows the rows of
each shard. A batch's place is therefore computed, and no state is saved: a run that goes on opens the shard there.

`split_dataset_by_node` of `datasets` would let every process read all shards wherever their number is no multiple of
the processes, and the state of its shuffle buffer leaves out the images in the buffer.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Sampler

from sct_hf.data.shards.formats import format_of
from sct_hf.data.shards.index import INDEX, Shard, ShardIndex
from sct_hf.data.shards.rows import names_of_cell
from sct_hf.errors import InputError

_BLOCK_ROWS = 2000
_BLOCK_BYTES = 128e6


class StreamedRow(NamedTuple):
    """One image of a stream, which a worker decodes.

    Attributes:
        number: Number of its row in the folder.
        image: Its `bytes` and `path`, the input of `decode_image`.
        marks: (C,) int8, 1 present, 0 absent, -1 unknown.
    """

    number: int
    image: dict[str, Any]
    marks: np.ndarray


class ShardBatches(Sampler[list[StreamedRow]]):
    """Batches of one process, as a batch sampler whose keys are the rows themselves.

    All processes have equally many batches. Their sizes differ by one image at most in a process; one with fewer rows
    has smaller batches, so that no image is left out or repeated.

    Args:
        index: The shards of all processes.
        batch_size: Most images of a batch, of this process.
        seed: Seed of the order.
        process: This process.
        processes: Number of processes.

    Raises:
        InputError: There are fewer shards than processes, or some process would have empty batches.
    """

    def __init__(self, index: ShardIndex, batch_size: int, seed: int, process: int = 0, processes: int = 1) -> None:
        if len(index.shards) < processes:
            raise InputError(
                f"{index.folder} has {len(index.shards)} shards to train on, for {processes} processes: make more "
                "with sct-hf shard --shards, or start fewer processes"
            )
        dealt = _dealt(index, processes)
        rows = [sum(shard.rows for shard in part) for part in dealt]
        self._count = -(-max(rows) // batch_size)
        if min(rows) < self._count:
            raise InputError(
                f"{index.folder} has {min(rows)} images for one process and {max(rows)} for another: make more, equal "
                "shards with sct-hf shard --shards"
            )
        self._index, self._shards, self._seed, self._process = index, dealt[process], seed, process
        self._ends = np.arange(self._count + 1) * rows[process] // self._count
        largest = max(shard.size / max(shard.rows, 1) for shard in index.shards)
        self._block = int(min(max(_BLOCK_BYTES // largest, 1), _BLOCK_ROWS))
        self._epoch = self._first = 0
        self._column_of = {name: column for column, name in enumerate(index.label_names)}

    def __len__(self) -> int:
        return self._count

    def start(self, epoch: int, batch: int) -> None:
        """Begin with a batch of an epoch, the next time that batches are asked for."""
        self._epoch, self._first = epoch, batch

    def __iter__(self) -> Iterator[list[StreamedRow]]:
        epoch, first = self._epoch, self._first
        done = int(self._ends[first])
        blocks = chain.from_iterable(self._blocks(epoch, done // self._block))
        rows = islice(blocks, done % self._block, None)
        for size in np.diff(self._ends[first:]).tolist():
            yield list(islice(rows, size))

    def _blocks(self, epoch: int, first: int) -> Iterator[list[StreamedRow]]:
        """Shuffled blocks of an epoch from block `first` on. A thread reads one ahead."""
        total, size = int(self._ends[-1]), self._block
        rows = self._rows(epoch, first * size)

        def read(block: int) -> list[StreamedRow]:
            found = list(islice(rows, size))
            if len(found) != min(size, total - block * size):
                raise InputError(
                    f"{self._index.folder} has fewer images than its index says: remove {self._index.home / INDEX} "
                    "to have the folder indexed again"
                )
            order = np.random.default_rng((self._seed, epoch, self._process, block)).permutation(len(found))
            return [found[place] for place in order]

        count = -(-total // size)
        with ThreadPoolExecutor(max_workers=1) as pool:
            ahead: Future[list[StreamedRow]] = pool.submit(read, first)
            for block in range(first, count):
                ready = ahead.result()
                if block + 1 < count:
                    ahead = pool.submit(read, block + 1)
                yield ready

    def _rows(self, epoch: int, skip: int) -> Iterator[StreamedRow]:
        """Rows of this process in the order of its shards in an epoch, after the first `skip`."""
        index, form = self._index, format_of(self._index.files[0])
        order = np.random.default_rng((self._seed, epoch, self._process)).permutation(len(self._shards))
        shards = [self._shards[place] for place in order]
        while shards and skip >= shards[0].rows:
            skip -= shards.pop(0).rows
        if not shards:
            return
        files = [index.folder / shard.file for shard in shards]
        numbers = chain.from_iterable(range(shard.start, shard.start + shard.rows) for shard in shards)
        read = form.rows(files, index.columns, skip=skip)
        for number, row in zip(islice(numbers, skip, None), read, strict=False):
            yield StreamedRow(number, row.image, self._marks(row.labels, row.unknown))

    def _marks(self, labels: Any, unknown: Any) -> np.ndarray:
        names, column_of = self._index.label_names, self._column_of
        marks = np.zeros(len(names), dtype=np.int8)
        for cell, mark in ((unknown, -1), (labels, 1)):
            marks[[column_of[name] for name in names_of_cell(cell, names)]] = mark
        return marks


def _dealt(index: ShardIndex, processes: int) -> list[list[Shard]]:
    """Shards of each process, of about equally many rows: the largest first, to the process with the fewest rows."""
    parts: list[list[Shard]] = [[] for _ in range(processes)]
    rows = [0] * processes
    for shard in sorted(index.shards, key=lambda shard: (-shard.rows, shard.start)):
        place = rows.index(min(rows))
        parts[place].append(shard)
        rows[place] += shard.rows
    return parts
