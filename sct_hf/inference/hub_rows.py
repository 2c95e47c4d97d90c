"""Images of a data set on the Hub, streamed row by row."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sct_hf.errors import InputError
from sct_hf.inference.containers import Columns, Wanted, imported, item_of_value, table_columns
from sct_hf.inference.items import Item
from sct_hf.network import failure_reason

_PREFIX = "hf://"
_ADDRESS = re.compile(
    r"hf://datasets/(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@\[\]]+))?(?:\[(?P<split>[^\[\]]+)\])?", re.ASCII
)
_REMEDY = (
    "check name, revision, split and network, or download it, save it by save_to_disk of datasets, and give its folder"
)


@dataclass(frozen=True)
class HubRows:
    """A data set on the Hub: all its splits, or one.

    Attributes:
        address: As the user gave it, such as `hf://datasets/owner/name@main[test]`.
        name: Such as "owner/name".
        revision: A branch, tag or commit; None for the main branch.
        split: Name of a split; None for all.
    """

    address: str
    name: str
    revision: str | None
    split: str | None

    @staticmethod
    def is_address(text: str) -> bool:
        """Whether a text is meant as a place on the Hub."""
        return text.startswith(_PREFIX)

    @classmethod
    def of(cls, address: str) -> "HubRows":
        """The data set at an address.

        Raises:
            InputError: The address has another form.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise InputError(
                f"images is {address!r}: give a data set as hf://datasets/OWNER/NAME, with @REVISION or [SPLIT] "
                "behind it, or both"
            )
        return cls(address, **found.groupdict())

    def __str__(self) -> str:
        return self.address

    def items(self, columns: Columns, wanted: Wanted) -> Iterator[Item]:
        """Images of the rows, in the order of the data set's files.

        A row is called by its split and its number in it, from 0: `hf://datasets/owner/name[test]#17`.

        Args:
            columns: The columns; by default the only one of images, or that called "image".
            wanted: Whether the image of this name is to be tagged.
        """
        datasets = imported("datasets")
        try:
            if os.path.isdir(self.name):
                raise ValueError(f"the folder {self.name!r} here would be read instead: run it in another folder")
            loaded = datasets.load_dataset(self.name, split=self.split, revision=self.revision, streaming=True)
            splits = {self.split: loaded} if self.split else dict(loaded)
            tables = {split: _streamed(datasets, table, columns) for split, table in splits.items()}
        except Exception as error:  # the network and damaged files make datasets raise almost anything
            if wanted(self.address):
                yield Item(self.address, None, f"no images can be loaded ({failure_reason(error)}): {_REMEDY}")
            return
        whole = self.address.removesuffix(f"[{self.split}]")
        for split, (table, image) in tables.items():
            yield from self._rows(table, image, f"{whole}[{split}]", columns, wanted)

    def _rows(self, table: Any, image: str, place: str, columns: Columns, wanted: Wanted) -> Iterator[Item]:
        row = 0
        try:
            for cells in table:
                named = None if columns.name is None else cells[columns.name]
                if (item := columns.item(f"{place}#{row}", named, wanted)) is not None:
                    yield item if item.error else self._item(item.name, cells[image])
                row += 1
        except Exception as error:  # as above
            name = f"{place}#{row}"
            if wanted(name):
                yield Item(name, None, f"the rows from here on cannot be read: {failure_reason(error)}")

    def _item(self, name: str, cell: Any) -> Item:
        """The item of a cell; where it only names a file of the data set, this reads the file."""
        path = cell["path"] if isinstance(cell, dict) and cell.get("bytes") is None else cell
        if not isinstance(path, str) or not path:
            return item_of_value(name, cell, Path())
        if not path.split("::")[-1].startswith(f"hf://datasets/{self.name}@"):
            return Item(name, None, f"the row names {path!r}, which is no file of the data set")
        try:
            with imported("fsspec").open(path, "rb") as file:
                return Item(name, file.read())
        except Exception as error:  # as above
            return Item(name, None, f"the image cannot be read: {failure_reason(error)}")


def _streamed(datasets: Any, table: Any, columns: Columns) -> tuple[Any, str]:
    """A split with the needed columns alone, images encoded, and the name of their column.

    Raises:
        ValueError: There is no such column.
    """
    if table.features is None:
        raise ValueError("its columns are only known once it is read")
    encoded = table.decode(False)  # load_dataset has threads decode
    image, kept = table_columns(datasets, encoded, columns)
    return kept, image
