"""The two formats of shards by the ending of their files: Parquet, and WebDataset's tar archives."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sct_hf.data.shards.parquet import ParquetShards
from sct_hf.data.shards.rows import Row
from sct_hf.data.shards.tar import TarShards


class ShardFormat(Protocol):
    """How files of one format are read and written. `columns` names those of image and labels, if not the usual."""

    def columns(self, file: Path, given: Mapping[str, str]) -> dict[str, str]:
        """The columns of a file: the given ones, else those found by name and type; the usual ones are left out."""
        ...

    def names(self, file: Path, columns: Mapping[str, str]) -> list[str] | None:
        """The labels in order, if a file declares them."""
        ...

    def rows(self, files: Sequence[Path], columns: Mapping[str, str], *, skip: int = 0) -> Iterator[Row]:
        """The rows of some files in order, read as they are asked for, after the first `skip`."""
        ...

    def labels(self, files: Sequence[Path], columns: Mapping[str, str]) -> Iterator[Row]:
        """The rows without their images, which are not read."""
        ...

    def image(self, file: Path, columns: Mapping[str, str], row: int) -> dict[str, Any]:
        """The encoded image of one row, by random access."""
        ...

    def write(self, file: Path, rows: Iterable[Row], names: Sequence[str]) -> None:
        """Write a file in one pass over the rows; their labels are places in `names`."""
        ...


FORMATS: dict[str, ShardFormat] = {".parquet": ParquetShards(), ".tar": TarShards()}
"""Formats by the ending of their files."""


def format_of(file: Path) -> ShardFormat:
    """The format of a file, by its ending."""
    return FORMATS[file.suffix.lower()]
