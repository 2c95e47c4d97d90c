"""One pass over shards: rows, counts of labels and contents of images, kept as their index."""

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from sct_hf.data.listing import are_too_many, declared_names
from sct_hf.data.looks import look_at
from sct_hf.data.names import UnusableError
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.shards.formats import FORMATS, format_of
from sct_hf.data.shards.index import INDEX, Shard, ShardIndex, read_index, write_index
from sct_hf.data.shards.rows import Row, names_of_cell
from sct_hf.errors import InputError
from sct_hf.files import cache_folder, sha256_of_file
from sct_hf.progress import step_bar

_AT_ONCE = 64  # rows in memory whose images are opened together
_BY_SPLIT = ".shards"  # folder of the indices where one folder has several splits; hidden, so that it is no data file


def shards_in(folder: Path, split: str) -> tuple[list[Path], Path]:
    """The shards of a split, in the order of their names, and the folder for their index.

    They are in `folder/split`; or in `folder` or `folder/data`, with names that begin with the split; or, for the
    split train, or one with the folder's name, in `folder` itself if it has `shards.json`.

    Raises:
        InputError: There are none, or of two formats.
    """
    inner = folder / split
    if inner.is_dir():
        return _files(inner, ""), inner
    if (folder / INDEX).is_file() and split in ("train", folder.name):
        return _files(folder, ""), folder
    for place in (folder, folder / "data"):
        if place.is_dir() and (found := _files(place, f"{split}-")):
            return found, place / _BY_SPLIT / split
    raise SplitError(
        split,
        f"{folder} has no shards of it: give a folder with {INDEX}, with the folder {split}, or with files such as "
        f"{split}-00000.parquet or {split}-00000.tar",
    )


def open_index(
    folder: Path,
    split: str,
    problems: Problems,
    *,
    columns: Mapping[str, str] | None = None,
    label_names: Sequence[str] | None = None,
    cache_dir: Path | None = None,
) -> ShardIndex:
    """The index of a split; it is made in one pass if there is none, and kept beside the shards or in the cache.

    Args:
        folder: Folder of the data.
        split: Name of the split.
        problems: Collects images and labels that cannot be used.
        columns: Names of the columns `image` and `labels`, for a pass.
        label_names: All labels in order, for a pass; by default those declared, or those found, sorted.
        cache_dir: Folder of indices of folders that cannot be written; by default in the user's cache.

    Raises:
        InputError: There are no shards, or they are not those of their index.
    """
    files, home = shards_in(folder, split)
    place = files[0].parent
    if not (home / INDEX).is_file() and not os.access(place, os.W_OK):
        home = _kept(place, files, cache_dir)
    if not (home / INDEX).is_file():
        index, contents = index_shards(files, problems, home=home, columns=columns or {}, label_names=label_names)
        if problems.found:
            return index
        write_index(index, contents)
    index = read_index(place, home)
    if strange := sorted({file.name for file in files} - {shard.file for shard in index.shards}):
        raise InputError(
            f"{place / strange[0]} is not in {home / INDEX}: move it away, or remove {INDEX} to have the folder "
            "indexed again"
        )
    if label_names is not None and list(label_names) != index.label_names:
        raise InputError(
            f"labels_file has {len(label_names)} labels, but {home / INDEX} has {len(index.label_names)} others or "
            "another order: leave labels_file out, or make shards with it by sct-hf shard"
        )
    return index


@dataclass
class _Found:
    """What a pass has found in one shard."""

    rows: int = 0
    unlabelled: int = 0
    positives: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


def index_shards(
    files: Sequence[Path],
    problems: Problems,
    *,
    home: Path,
    columns: Mapping[str, str],
    label_names: Sequence[str] | None = None,
) -> tuple[ShardIndex, np.ndarray]:
    """Read all shards once: open each image, count labels, and note contents.

    Args:
        files: The shards, in order.
        problems: Collects images that cannot be read and labels that cannot be used.
        home: The folder for the index.
        columns: Names of the columns `image` and `labels`, where they are not found by name and type.
        label_names: All labels in order; by default those declared, or those found, sorted.

    Returns:
        The index, and the contents (N,) uint64 of the images, see `sct_hf.data.contents`.
    """
    form = format_of(files[0])
    read = form.columns(files[0], columns)
    given = label_names if label_names is not None else form.names(files[0], read)
    names = None if given is None else declared_names(given, f"{files[0]}, names of its labels", problems)
    found: list[_Found] = []
    contents = array("Q")
    with ThreadPoolExecutor() as pool, step_bar(desc="indexing shards", unit="image") as bar:
        for file in files:
            part = _Found()
            for number, (row, fault, content) in enumerate(_looked_at(form.rows([file], read), pool)):
                place = f"{file}, row {number}"
                if fault:
                    problems.add("broken image", place, f"image {row.image_id!r} is {fault}", "take the row out")
                _count(row, names, place, part, problems)
                contents.append(int(content or "0", 16))
                bar.update()
            found.append(part)
    labels = names if names is not None else sorted({name for part in found for name in part.positives + part.unknown})
    if not are_too_many(labels, files[0].parent, problems):
        _check_known(found, labels, files, problems)
    column_of = {name: column for column, name in enumerate(labels)}
    shards = [
        Shard(
            file=file.name,
            rows=part.rows,
            size=file.stat().st_size,
            sha256=sha256_of_file(file),
            positives={column_of[name]: count for name, count in part.positives.items() if name in column_of},
            unknown={column_of[name]: count for name, count in part.unknown.items() if name in column_of},
            unlabelled=part.unlabelled,
        )
        for file, part in zip(files, found, strict=True)
    ]
    return ShardIndex(files[0].parent, labels, tuple(shards), read, home), np.asarray(contents)


def _looked_at(rows: Iterator[Row], pool: ThreadPoolExecutor) -> Iterator[tuple[Row, str | None, str]]:
    """Rows with the fault of their image, if any, and its content."""
    while part := list(islice(rows, _AT_ONCE)):
        for row, look in zip(part, pool.map(look_at, (row.image for row in part)), strict=True):
            yield row, look.fault, look.fingerprint.hex()[:16]


def _count(row: Row, names: Sequence[str] | None, place: str, part: _Found, problems: Problems) -> None:
    part.rows += 1
    try:
        present, unknown = names_of_cell(row.labels, names), names_of_cell(row.unknown, names)
    except UnusableError as error:
        problems.add("wrong labels", place, error.text, error.remedy)
        return
    part.positives.update(present)
    part.unknown.update(name for name in unknown if name not in present)
    part.unlabelled += not present


def _check_known(found: Sequence[_Found], names: Sequence[str], files: Sequence[Path], problems: Problems) -> None:
    for file, part in zip(files, found, strict=True):
        for name in sorted((part.positives + part.unknown).keys() - set(names)):
            text = f"label {name!r} is not one of the {len(names)} labels given"
            problems.add("unknown label", file, text, "add it to the labels, or correct it")
    if len(names) < 2:
        problems.add("too few labels", files[0].parent, f"there is {len(names)} label", "give at least two")


def _files(folder: Path, start: str) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in FORMATS and path.name.startswith(start))
    if len({path.suffix.lower() for path in found}) > 1:
        raise InputError(f"{folder} has shards of two formats, {' and '.join(FORMATS)}: keep one")
    if not found and not start:
        raise InputError(f"{folder} has no shards: it needs files that end in {' or '.join(FORMATS)}")
    return found


def _kept(place: Path, files: Sequence[Path], cache_dir: Path | None) -> Path:
    """The folder for the index of a folder that cannot be written; other files have another one."""
    cache = cache_dir or cache_folder("shards")
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return cache / hashlib.sha256(repr((str(place.absolute()), states)).encode()).hexdigest()[:32]
