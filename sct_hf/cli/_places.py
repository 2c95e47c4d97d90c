"""Where a command that tags images puts its results, and what it says of the run."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.inference.lookup import Lookup
from sct_hf.inference.outputs import Add, in_file, in_folder, printed
from sct_hf.inference.row_files import ROW_FORMATS
from sct_hf.inference.rows import Columns
from sct_hf.progress import above_bars

_SHOWN = 100  # problems said one by one


@dataclass(frozen=True)
class Place:
    """Where results go.

    Attributes:
        format: Name of their format.
        path: The file or folder; None to print them.
        is_folder: Whether `path` is a folder of parts.
        is_beside: Whether results go into sidecars alone.
    """

    format: str
    path: Path | None = None
    is_folder: bool = False
    is_beside: bool = False

    @property
    def says_counts(self) -> bool:
        """Whether a run always ends with a line of what it did."""
        return self.is_folder or self.is_beside

    @property
    def folder(self) -> Path | None:
        """The folder of parts, absolute."""
        return self.path.resolve() if self.path is not None and self.is_folder else None


def place_of(arguments: argparse.Namespace) -> Place:
    """The place that `--output` and `--format` give.

    Raises:
        InputError: The format does not fit the place.
    """
    given: str | None = arguments.format
    if arguments.sidecars is not None:
        for name in ("output", "format"):
            if (value := getattr(arguments, name)) is not None:
                raise InputError(
                    f"{name} is {value!r}, but sidecars take the tags: give one of --{name} and --sidecars"
                )
        return Place("json", is_beside=True)
    if arguments.output is None:
        if given == "parquet":
            raise InputError("format: parquet cannot be printed; give a file or a folder by --output")
        return Place(given or "table")
    path = Path(arguments.output)
    if path.is_dir() or arguments.output.endswith(("/", os.sep)):
        if given is not None and ROW_FORMATS[given].read is None:
            raise InputError(
                f"format: a folder takes no {given}; give parquet, csv or jsonl, or an output that is a file"
            )
        return Place(given or "parquet", path, is_folder=True)
    ending = path.suffix.lower().removeprefix(".")
    return Place(given or (ending if ending in ROW_FORMATS else "table"), path)


@contextmanager
def open_place(
    place: Place,
    arguments: argparse.Namespace,
    columns: Columns,
    settings: Callable[[], dict[str, Any]],
    lookup: Lookup,
) -> Iterator[Add]:
    """A place as a context that gives a function to add a row.

    Args:
        place: The place.
        arguments: The command's options; a file's content depends on its inputs.
        columns: The rows' columns.
        settings: Makes the settings of the run, which places that go on compare.
        lookup: It learns what is done.
    """
    if place.is_beside:
        yield lambda row: None
    elif place.path is None:
        with printed(sys.stdout, place.format, columns) as add:
            yield add
    elif place.is_folder:
        with in_folder(place.path, place.format, columns, settings(), lookup) as add:
            yield add
    else:
        inputs = {name: getattr(arguments, name) for name in ("images", "image_column", "id_column")}
        with in_file(place.path, place.format, columns, settings() | inputs, lookup) as add:
            yield add


class Problems:
    """What could not be read or written, said one by one on stderr up to a number, then counted.

    Args:
        shown: Whether they are said; tables in a terminal show them already.

    Attributes:
        count: How many there are.
    """

    def __init__(self, *, shown: bool) -> None:
        self.count = 0
        self._shown = shown
        self._said = self._silent = 0

    def add(self, text: str) -> None:
        """Say and count one."""
        self.count += 1
        if not self._shown:
            return
        if self._said == _SHOWN:
            self._silent += 1
            return
        self._said += 1
        with above_bars(sys.stderr):
            print(in_line(text), file=sys.stderr)

    def close(self) -> None:
        """Say how many were not said."""
        if self._silent:
            print(f"{self._silent:,} more of this kind: the results have them", file=sys.stderr)


def summary(tagged: int, lookup: Lookup, problems: Problems) -> str:
    """One line of what a run did."""
    counts = {
        "tagged now": tagged,
        "done before": lookup.done,
        "named twice": lookup.repeated,
        "failed": problems.count,
    }
    said = [f"{count:,} {what}" for what, count in counts.items() if count or what == "tagged now"]
    return f"images: {', '.join(said)}" + " (the same command tries them again)" * bool(problems.count)
