"""Results in a folder of parts: each is written whole, and together they say what is done."""

import csv
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from sct_hf.errors import InputError
from sct_hf.files import atomic_write, remove_partial
from sct_hf.inference.lookup import Lookup
from sct_hf.inference.row_files import Row, RowFormat, write_whole
from sct_hf.inference.rows import Columns
from sct_hf.inference.settings import differing

RUN_FILE = "_run.json"
"""Readers of Parquet folders pass over names that begin so."""

LOCK = ".lock"
ROWS = 10_000
"""Most rows of a part."""

SECONDS = 60.0
"""Time after which a part is written with fewer rows: what a killed run loses at most."""

# what reading a file that is not ours raises; pyarrow's errors are among them
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error)


class Parts:
    """A folder of parts: `part-000000.parquet` and so on, and `_run.json` with the settings.

    A run that finds the folder goes on. Rows with an error are taken out first, so that these images are tried again.
    A part is written after `ROWS` images or `SECONDS`, and at the end, also where an error ends the run.

    Args:
        folder: The folder; created if absent.
        form: The format of the parts.
        columns: The rows' columns.
        settings: What decides tags, see `run_settings`.
        lookup: It learns what is done.
        field: Name of the option that gives the folder, or the file.
        file: The file whose parts these are, if it is not the folder that the user gave.
        clock: Seconds, of a clock that never goes back.

    Raises:
        InputError: Another run works in the folder, its settings differ, it holds other files, or a part is damaged.
        OSError: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        form: RowFormat,
        columns: Columns,
        settings: dict[str, Any],
        lookup: Lookup,
        *,
        field: str = "output",
        file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.form, self.columns = folder, form, columns
        self._settings = {"format": form.name, **settings}
        self._name = f"{field} is {str(folder)!r}" if file is None else f"{field} is {str(file)!r}"
        self._other = "a new or empty folder" if file is None else "another file"
        self._instead = self._other
        if file is not None:
            self._name += f", with its parts in {str(folder)!r}"
            self._instead += ", or remove the folder of parts"
        self._is_cleared = False
        self._lookup, self._clock = lookup, clock
        lookup.key = form.key
        self._rows: list[Row] = []
        self._since = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"{self._name}, where another run is working: wait until it ends, or choose {self._other}"
            ) from error
        try:
            self._open()
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> "Parts":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.write()
        finally:
            self._release()

    def add(self, row: Row) -> None:
        """Take the row of the next image.

        Raises:
            OSError: A part cannot be written.
        """
        if not self._rows:
            self._since = self._clock()
        self._rows.append(row)
        if len(self._rows) >= ROWS or self._clock() - self._since >= SECONDS:
            self.write()

    @property
    def is_empty(self) -> bool:
        """Whether there is no row."""
        return not self._rows and not self._parts()

    def rows(self) -> Iterator[Row]:
        """All rows that are written, part by part."""
        for part in self._parts():
            yield from self._read(part)

    def _release(self) -> None:
        if os.name != "nt":  # Windows removes no open file; filelock does so there
            (self.folder / LOCK).unlink(missing_ok=True)
        self._lock.release()
        if self._is_cleared:
            with suppress(OSError):  # another run has begun there
                self.folder.rmdir()

    def clear(self) -> None:
        """Remove all parts. The folder goes when the context ends: until then its lock keeps other runs out."""
        for path in self.folder.iterdir():
            if path.name != LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._is_cleared = True

    def _open(self) -> None:
        remove_partial(self.folder)
        file = self.folder / RUN_FILE
        if not file.exists() or not any(self.folder.glob("part-*")):
            if other := [path.name for path in self.folder.iterdir() if path.name not in (LOCK, RUN_FILE)]:
                raise InputError(
                    f"{self._name}, which holds {other[0]!r} but no results of an earlier run: give {self._instead}"
                )
            with atomic_write(file) as temporary:
                temporary.write_text(json.dumps(self._settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        try:
            others = differing(json.loads(file.read_text(encoding="utf-8")), self._settings)
        except _DAMAGED as error:
            raise InputError(f"{self._name}, whose {RUN_FILE} is damaged ({error}): give {self._instead}") from error
        if others:
            raise InputError(
                f"{self._name}, which holds results of other settings: {', '.join(others)}. Give the same settings, "
                f"or {self._instead}"
            )
        for part in self._parts():
            self._take_over(part)

    def _take_over(self, part: Path) -> None:
        """Learn what a part has, and take its failures out."""
        good = failed = 0
        for row in self._read(part):
            if row["error"]:
                failed += 1
            else:
                good += 1
                self._lookup.mark_done(row["path"])
        if not good:
            part.unlink()
        elif failed:
            write_whole((row for row in self._read(part) if not row["error"]), self.columns, self.form, part)

    def _read(self, part: Path) -> Iterator[Row]:
        assert self.form.read is not None
        try:
            yield from self.form.read(part)
        except (*_DAMAGED, OSError) as error:
            raise InputError(
                f"{self._name}, whose {part.name!r} cannot be read ({error}): remove it, and its images are tagged "
                "again"
            ) from error

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob(f"part-*.{self.form.name}"))

    def write(self) -> None:
        """Write the rows that were added since the last part.

        Raises:
            OSError: The part cannot be written.
        """
        if not self._rows:
            return
        last = max((int(part.stem.removeprefix("part-")) for part in self._parts()), default=-1)
        path = self.folder / f"part-{last + 1:06d}.{self.form.name}"
        rows, self._rows = self._rows, []
        write_whole(rows, self.columns, self.form, path)
