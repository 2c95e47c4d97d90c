"""Items read ahead: order, how far ahead, and that whoever takes none stops the reading."""

import threading
from pathlib import Path

import pytest

from sct_hf.inference.items import Item, read_ahead


def items(count: int) -> list[Item]:
    return [Item(str(number), b"") for number in range(count)]


def test_what_an_item_is_made_of() -> None:
    item = Item("shard.tar/1.jpg", b"jpeg")
    assert Item.of(item) is item
    assert Item.of("./a//b.jpg") == Item("a/b.jpg", Path("a/b.jpg")) == Item.of(Path("a/b.jpg"))


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (3, 2), (4, 7), (2, 100)])
def test_results_come_in_order_and_never_further_ahead_than_allowed(threads: int, most: int) -> None:
    taken = 0
    furthest: list[int] = []

    def source():
        for number, item in enumerate(items(40)):
            furthest.append(number - taken)
            yield item

    found = []
    for item, value in read_ahead(source(), lambda item: int(item.name) ** 2, threads=threads, most=most):
        taken += 1
        found.append((item.name, value))
    assert found == [(str(number), number**2) for number in range(40)]
    assert max(furthest) == min(most, 40) - 1


def test_reading_goes_on_while_nobody_takes() -> None:
    """The fourth item is read before the first is taken."""
    read = threading.Event()

    def note(item: Item) -> None:
        if item.name == "3":
            read.set()

    found = read_ahead(items(9), note, threads=2, most=5)
    next(found)
    assert read.wait(timeout=60)
    found.close()


def test_an_error_of_reading_reaches_who_takes_and_ends_the_threads() -> None:
    def fail(item: Item) -> None:
        if item.name == "1":
            raise KeyError(item.name)

    found = read_ahead(items(9), fail, threads=3, most=3)
    next(found)
    with pytest.raises(KeyError):
        next(found)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read_ahead")]
