"""What is tagged: an image by its name, read ahead of the model."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """An image to tag.

    Attributes:
        name: What results call it: a file's path as given, or a place in another file, such as `shard.parquet#17` or
            `shard.tar/0001.jpg`.
        image: Its file, or its encoded bytes (a whole JPEG file, say); None if there is none.
        error: Why its source has no image for it; None if it has.
    """

    name: str
    image: Path | bytes | None
    error: str | None = None

    @classmethod
    def of(cls, given: "str | Path | Item") -> "Item":
        """The item of a file; an item stays as it is."""
        return given if isinstance(given, Item) else cls(str(Path(given)), Path(given))


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], T], *, threads: int, most: int
) -> Iterator[tuple[Item, T]]:
    """Read items in threads, ahead of who takes them.

    Args:
        items: The items. They are taken in this thread, as room becomes free.
        read: Reads one, in a thread.
        threads: Threads that read.
        most: Most items that are read or being read, and not taken.

    Yields:
        Each item with what `read` made of it, in order.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read_ahead")
    waiting: deque[tuple[Item, Future[T]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(read, item)))
            if len(waiting) >= most:
                yield _taken(waiting)
        while waiting:
            yield _taken(waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _taken(waiting: "deque[tuple[Item, Future[T]]]") -> tuple[Item, T]:
    item, future = waiting.popleft()
    return item, future.result()
