"""One row of a shard, and what its cells of labels say."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sct_hf.data.cells import items_in
from sct_hf.data.names import UnusableError, clean_name


class Row(NamedTuple):
    """One image.

    Attributes:
        image_id: Its name; empty if the shard has none.
        image: Its `bytes` and `path`, the input of `decode_image`; empty if it was not read.
        labels: The cell of the labels that it shows: a list of names or of their places, or one of them.
        unknown: The cell of its unknown labels, likewise.
    """

    image_id: str
    image: dict[str, Any]
    labels: Any
    unknown: Any


def names_of_cell(cell: Any, declared: Sequence[str] | None) -> list[str]:
    """The names in a cell, each once.

    Args:
        cell: None; a list of names, or of places among the declared names; one of them; or text as in a table.
        declared: All labels in order, if the shards declare them.

    Raises:
        UnusableError: The cell has another type, a number that is no place, or an entry that is no name.
    """
    items = [cell] if isinstance(cell, int | np.integer) else items_in(cell)
    return list(dict.fromkeys(_name(item, declared) for item in items))


def _name(item: Any, declared: Sequence[str] | None) -> str:
    if isinstance(item, bool) or not isinstance(item, int | np.integer):
        return clean_name(item)
    if declared is None:
        raise UnusableError(
            f"has the number {item}, but nothing says which label it is", "write names, or make shards by sct-hf shard"
        )
    if not 0 <= item < len(declared):
        raise UnusableError(f"has the number {item}", f"give one from 0 to {len(declared) - 1}")
    return declared[int(item)]
