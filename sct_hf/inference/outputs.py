"""Where rows go: a stream, a file, or a folder of parts. Each is a context that gives a function to add a row."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from sct_hf.files import remove_partial
from sct_hf.inference.formats import TEXTS, TextFormat
from sct_hf.inference.lookup import Lookup
from sct_hf.inference.parts import Parts
from sct_hf.inference.row_files import ROW_FORMATS, Row, write_whole
from sct_hf.inference.rows import Columns
from sct_hf.progress import above_bars

Add = Callable[[Row], None]

_HELD = 100  # rows, so that a table of a few is aligned
_SECONDS = 1.0


@contextmanager
def printed(stream: TextIO, style: str, columns: Columns) -> Iterator[Add]:
    """Write rows as text as they come, and at least once a second.

    Args:
        stream: Where to.
        style: One of `TEXTS`.
        columns: The rows' columns.
    """
    text: TextFormat = TEXTS[style](columns)
    held: list[Row] = []
    since, is_started = 0.0, False

    def flush() -> None:
        nonlocal is_started
        with above_bars(stream):
            stream.write(("" if is_started else text.start()) + text.add(held))
            stream.flush()
        is_started = True
        held.clear()

    def add(row: Row) -> None:
        nonlocal since
        since = since if held else time.monotonic()
        held.append(row)
        if len(held) >= _HELD or time.monotonic() - since >= _SECONDS:
            flush()

    try:
        yield add
    finally:
        if held:
            flush()
    stream.write(("" if is_started else text.start()) + text.end())


@contextmanager
def in_folder(
    folder: Path, form: str, columns: Columns, settings: dict[str, Any], lookup: Lookup, *, field: str = "output"
) -> Iterator[Add]:
    """Write rows to a folder of parts, see `Parts`."""
    with Parts(folder, ROW_FORMATS[form], columns, settings, lookup, field=field) as parts:
        yield parts.add


@contextmanager
def in_file(path: Path, form: str, columns: Columns, settings: dict[str, Any], lookup: Lookup) -> Iterator[Add]:
    """Write rows to a file, whole or not at all.

    Until the end they lie in parts in a hidden folder beside it, from which a stopped run goes on.

    Args:
        path: The file.
        form: One of `ROW_FORMATS`.
        columns: The rows' columns.
        settings: What decides the file's content: settings of tags, and the inputs.
        lookup: It learns what is done.
    """
    hidden = hidden_folder(path)
    with Parts(hidden, ROW_FORMATS["jsonl"], columns, settings, lookup, file=path) as parts:
        remove_partial(path.parent, path)
        try:
            yield parts.add
            parts.write()
            write_whole(parts.rows(), columns, ROW_FORMATS[form], path)
        except BaseException:
            if parts.is_empty:
                parts.clear()
            raise
        parts.clear()


def hidden_folder(path: Path) -> Path:
    """Where the parts of a file lie until it is whole."""
    return path.with_name(f".{path.name}.parts")
