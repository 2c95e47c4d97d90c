"""What a folder of shards holds, as `shards.json` notes it: files, rows, and counts of labels."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from sct_hf.data.label_counts import LabelCounts
from sct_hf.errors import InputError
from sct_hf.files import atomic_write

INDEX = "shards.json"
"""Name of the file beside the shards."""

CONTENTS = "contents.txt"
"""Name of the file with the content of each image, one in a line, in the order of the rows; see `data.contents`."""

_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """One file.

    Attributes:
        file: Its name in the folder.
        rows: Number of images.
        size: Bytes of the file.
        sha256: Digest of the file.
        positives: Images that show a label, by its place in the names; labels without one are left out.
        unknown: Images for which a label is unknown, likewise.
        unlabelled: Images that show no label.
        start: Number of the first row in the folder.
    """

    file: str
    rows: int
    size: int
    sha256: str
    positives: dict[int, int]
    unknown: dict[int, int]
    unlabelled: int
    start: int = 0


@dataclass(frozen=True)
class ShardIndex:
    """Shards of one split.

    Attributes:
        folder: Their folder.
        label_names: The C labels.
        shards: The shards, in the order of their rows.
        columns: Names of the columns of image and labels, where they are not the usual ones.
        home: Folder of `shards.json`, if it is not that of the shards.
    """

    folder: Path
    label_names: list[str]
    shards: tuple[Shard, ...]
    columns: dict[str, str]
    home: Path

    @property
    def rows(self) -> int:
        """Number of images."""
        return sum(shard.rows for shard in self.shards)

    @property
    def files(self) -> list[Path]:
        """The files."""
        return [self.folder / shard.file for shard in self.shards]

    @property
    def numbers(self) -> np.ndarray:
        """Numbers (N,) int64 of the rows in the folder."""
        return np.concatenate([np.arange(shard.start, shard.start + shard.rows) for shard in self.shards])

    def counts(self) -> LabelCounts:
        """Counts of each label."""
        positives, unknown = (
            np.bincount(
                [label for part in parts for label in part],
                [count for part in parts for count in part.values()],
                len(self.label_names),
            ).astype(np.int64)
            for parts in ([shard.positives for shard in self.shards], [shard.unknown for shard in self.shards])
        )
        return LabelCounts(positives, self.rows - positives - unknown, unknown)

    def only(self, places: Sequence[int]) -> "ShardIndex":
        """The index of some of the shards, in their order."""
        return replace(self, shards=tuple(self.shards[place] for place in sorted(places)))

    def holdout(self, fraction: float, seed: int) -> tuple["ShardIndex", "ShardIndex"]:
        """Hold out whole shards, drawn at random under `seed`: the rest, and the held-out part.

        Raises:
            InputError: There are fewer than two shards.
        """
        count = len(self.shards)
        if count < 2:
            raise InputError(
                f"holdout is {fraction}, but {self.folder} has one shard, and whole shards are held out: make more "
                "with sct-hf shard --shards, or give --holdout 0"
            )
        drawn = np.random.default_rng(seed).permutation(count)[: min(max(round(fraction * count), 1), count - 1)]
        return self.only(sorted(set(range(count)) - set(drawn.tolist()))), self.only(drawn.tolist())


def write_index(index: ShardIndex, contents: np.ndarray) -> None:
    """Write `shards.json`, after the contents of the images, so that it is there only if all is.

    Args:
        index: The index.
        contents: Contents (N,) uint64 of the images.

    Raises:
        OSError: A file cannot be written.
    """
    with atomic_write(index.home / CONTENTS) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(f"{content:016x}\n" for content in contents)
    shards = [{name: value for name, value in asdict(shard).items() if name != "start"} for shard in index.shards]
    content = {
        "version": _VERSION,
        "label_names": index.label_names,
        "rows": index.rows,
        "columns": index.columns,
        "shards": shards,
    }
    with atomic_write(index.home / INDEX) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def read_index(folder: Path, home: Path) -> ShardIndex:
    """Read `shards.json` and compare it with the sizes of the files.

    Args:
        folder: The folder of the shards.
        home: The folder of `shards.json`.

    Raises:
        InputError: It cannot be read, or a shard is missing or has another size.
    """
    path = home / INDEX
    remedy = f"restore it, or remove {path} to have the folder indexed again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise ValueError(f"its version is {content['version']!r}, not {_VERSION}")
        parts = [_shard(part) for part in content["shards"]]
        names, columns = list(map(str, content["label_names"])), dict(content["columns"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{path} cannot be read ({reason}): remove it to have the folder indexed again") from error
    starts = accumulate((part.rows for part in parts), initial=0)
    shards = tuple(replace(part, start=start) for part, start in zip(parts, starts, strict=False))
    for shard in shards:
        try:
            size = (folder / shard.file).stat().st_size
        except OSError as error:
            raise InputError(f"shard {folder / shard.file} cannot be read ({error.strerror}): {remedy}") from error
        if size != shard.size:
            raise InputError(f"shard {folder / shard.file} has {size} bytes, but {shard.size} in {path}: {remedy}")
    if not any(shard.rows for shard in shards):
        raise InputError(f"{path} lists no image: remove it to have the folder indexed again")
    return ShardIndex(folder, names, shards, columns, home)


def read_contents(index: ShardIndex) -> np.ndarray:
    """Contents (N,) uint64 of the images of some shards, see `sct_hf.data.contents`.

    Raises:
        InputError: The file is damaged.
    """
    path = index.home / CONTENTS
    try:
        lines = np.loadtxt(path, dtype=np.uint64, converters=lambda text: int(text, 16), ndmin=1)
        return lines[index.numbers]
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): remove {index.home / INDEX} to have the folder indexed again"
        ) from error


def _shard(part: dict[str, Any]) -> Shard:
    known = {one.name for one in fields(Shard)} - {"start"}
    if wrong := sorted(known ^ part.keys()):
        raise ValueError(f"{wrong[0]} is {'missing' if wrong[0] in known else 'unknown'}")
    counts = {name: {int(label): int(count) for label, count in part[name].items()} for name in _COUNTS}
    numbers = {name: int(part[name]) for name in ("rows", "size", "unlabelled")}
    if Path(part["file"]).name != part["file"]:
        raise ValueError(f"file is {part['file']!r}, no name of a file")
    return Shard(file=part["file"], sha256=str(part["sha256"]), **numbers, **counts)  # type: ignore[arg-type]


_COUNTS = ("positives", "unknown")
