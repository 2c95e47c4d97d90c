"""Files below folders and of glob patterns, listed as they are needed."""

import glob
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sct_hf.inference.items import Item

T = TypeVar("T")

_ANY = "**"
SORTED = 100_000
"""Most entries of a folder, or hits of a pattern, that come in order of their names: more would fill the memory."""


def files_below(folder: str | Path, is_kept: Callable[[str], bool], without: Path | None = None) -> Iterator[Any]:
    """List a folder with its subfolders, one folder at a time.

    Names that begin with a dot are no files to list. Links to folders are not followed, so none is listed twice. A
    link that leads to no file is listed: reading it says why.

    Args:
        folder: The folder.
        is_kept: Whether a file of this name is listed.
        without: A folder that is passed over.

    Yields:
        A `Path` for each file, in order of names where a folder has at most `SORTED` entries; an `Item` with an error
        for a folder that cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in in_order(entries, lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    if without is None or Path(entry.path).resolve() != without:
                        yield from files_below(entry.path, is_kept, without)
                elif is_kept(entry.name) and not entry.name.startswith(".") and _is_file_or_lost(entry):
                    yield Path(entry.path)
    except OSError as error:
        yield Item(str(Path(folder)), None, f"the folder cannot be read ({error.strerror})")


def _is_file_or_lost(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a file, or a link to one that cannot be found."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # of a link in a circle, say
        return True


def matches(pattern: str) -> Iterator[Path]:
    """Files and folders that match a glob pattern, in order of their paths if they are at most `SORTED`.

    `**` follows no links to folders, which may lead in circles, and passes over names that begin with a dot.
    """
    parts = Path(pattern).parts
    if _ANY not in parts:
        return map(Path, in_order(glob.iglob(pattern), str))
    at = parts.index(_ANY)
    bases = map(Path, glob.iglob(str(Path(*parts[:at])))) if at else iter([Path()])
    hits = (hit for base in bases for hit in base.glob("/".join(parts[at:])) if not _is_hidden(hit.relative_to(base)))
    return in_order(hits, str)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def in_order(found: Iterator[T], key: Callable[[T], Any]) -> Iterator[T]:
    """Sort what comes if it is at most `SORTED`, else give it as it comes."""
    first = list(islice(found, SORTED + 1))
    yield from first if len(first) > SORTED else sorted(first, key=key)
    yield from found
