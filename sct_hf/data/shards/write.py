"""Write labelled images as shards, in random order."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.data.problems import Problems
from sct_hf.data.shards.formats import FORMATS
from sct_hf.data.shards.index import ShardIndex, read_index, write_index
from sct_hf.data.shards.rows import Row
from sct_hf.data.shards.scan import index_shards
from sct_hf.errors import InputError
from sct_hf.files import PARTIAL, atomic_write, remove_partial, sync
from sct_hf.progress import step_bar

_ROWS = 2000  # of a shard, about 200 MB of photographs
_FEWEST = 16  # shards, so that a tenth of them can be held out
_PLAN = ".plan.json"
"""Name of the file that notes what decides the shards' content; hidden, so that other programs take it for no data."""


def write_shards(images: LabelledImages, folder: Path, *, kind: str, count: int, seed: int) -> ShardIndex:
    """Write a folder of shards and its index, whole or not at all; bytes of images stay as they are.

    Shards are made in a hidden folder beside it, where a later call with equal images and arguments goes on. Their
    index is counted from what was written, so a shard that cannot be read back is found here. See `finished_shards`
    for a folder that such a call has made.

    Args:
        images: The images and their labels.
        folder: The folder to make; it does not exist, or is empty.
        kind: "parquet" or "tar".
        count: Number of shards, of equal size but for one image; 0 makes one of each 2,000 images, and 16 at least.
        seed: Seed of the order.

    Raises:
        InputError: The folder has files or is the current one, an image cannot be read, or there are fewer images than
            shards.
        OSError: A file cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        what = "shards of other images or options" if (folder / _PLAN).is_file() else "files"
        raise InputError(f"output is {str(folder)!r}, which has {what}: name another folder, or remove it")
    if folder.absolute() == Path.cwd():
        raise InputError(
            f"output is {str(folder)!r}, the folder that you are in: name one to make in it, such as train"
        )
    total, count = len(images), _count(images, count)
    if count > total:
        raise InputError(f"shards is {count}, but there are {total} images: give at most as many")
    partial = folder.with_name(f"{PARTIAL}{folder.name}")
    _begin(partial, _plan(images, kind, count, seed))
    order = np.random.default_rng(seed).permutation(total)
    files = []
    for number, rows in enumerate(step_bar(np.array_split(order, count), desc="writing shards", unit="shard")):
        files.append(partial / f"shard-{number:05d}.{kind}")
        if not files[-1].exists():
            with atomic_write(files[-1]) as temporary:
                FORMATS[f".{kind}"].write(temporary, _rows(images, rows), images.label_names)
    problems = Problems()
    index, contents = index_shards(files, problems, home=partial, columns={}, label_names=images.label_names)
    problems.raise_if_any()
    write_index(index, contents)
    sync(partial)
    if folder.exists():
        folder.rmdir()
    os.replace(partial, folder)
    return read_index(folder, folder)


def finished_shards(images: LabelledImages, folder: Path, *, kind: str, count: int, seed: int) -> ShardIndex | None:
    """The index of a folder that `write_shards` has made of equal images with equal arguments, as given here.

    Returns:
        The index; None if the folder does not exist, is empty or was made in another way.

    Raises:
        InputError: A shard is missing, or has another size than when it was made.
    """
    if not (folder / _PLAN).is_file():
        return None
    is_equal = _is_of(folder, _plan(images, kind, _count(images, count), seed))
    return read_index(folder, folder) if is_equal else None


def _count(images: LabelledImages, count: int) -> int:
    """The number of shards to make."""
    return count or min(max(-(-len(images) // _ROWS), _FEWEST), len(images))


def _rows(images: LabelledImages, rows: np.ndarray) -> Iterator[Row]:
    for row in rows.tolist():
        labels, unknown = (np.flatnonzero(images.marks[row] == mark).tolist() for mark in (1, -1))
        encoded = images.encoded(row)
        data, path = encoded["bytes"], encoded["path"]
        try:
            data = Path(path).read_bytes() if data is None else data
        except (OSError, TypeError) as error:
            raise InputError(f"image {images.image_ids[row]!r} cannot be read ({error}): save it as a file") from error
        yield Row(images.image_ids[row], {"bytes": data, "path": None}, labels, unknown)


def _plan(images: LabelledImages, kind: str, count: int, seed: int) -> str:
    """What decides the content of the shards, as a digest."""
    digest = hashlib.sha256(json.dumps([images.label_names, images.image_ids, kind, count, seed]).encode())
    digest.update(np.ascontiguousarray(images.marks).data)
    for row in range(len(images)):
        digest.update(_state(images.encoded(row)))
    return json.dumps({"sha256": digest.hexdigest()})


def _state(encoded: dict[str, Any]) -> bytes:
    """What changes if an image does: size and time of its file, or its bytes if it has none."""
    if encoded["bytes"] is not None:
        return hashlib.sha256(encoded["bytes"]).digest()
    try:
        found = os.stat(encoded["path"])
    except (OSError, TypeError):  # said when the image is written
        return b"\n"
    return f"{found.st_size} {found.st_mtime_ns}\n".encode()


def _begin(partial: Path, plan: str) -> None:
    """Make the hidden folder, or go on in one that was left by a killed call with an equal plan."""
    if partial.exists() and not _is_of(partial, plan):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    remove_partial(partial)
    with atomic_write(partial / _PLAN) as temporary:
        temporary.write_text(plan, encoding="utf-8")


def _is_of(folder: Path, plan: str) -> bool:
    """Whether the shards in a folder were made after this plan."""
    try:
        return (folder / _PLAN).read_bytes() == plan.encode()
    except OSError:
        return False
