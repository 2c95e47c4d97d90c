"""Shards as tar archives in the layout of WebDataset: `name.jpg` and `name.json` follow each other."""

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image as PilImage

from sct_hf.data.shards.rows import Row
from sct_hf.errors import InputError
from sct_hf.files import IMAGE_SUFFIXES

_NO_SUFFIX = ".img"
_ENDINGS = IMAGE_SUFFIXES | {_NO_SUFFIX}


class TarShards:
    """An image is a pair of members: itself, and a JSON object with `labels`, `unknown` and `image_id`.

    `datasets` streams such archives too, but takes the endings of the first five images for those of all.
    """

    def columns(self, file: Path, given: Mapping[str, str]) -> dict[str, str]:
        """See `ShardFormat`; `labels` names the entry of the JSON object."""
        return {role: name for role, name in given.items() if role == "labels" and name != role}

    def names(self, file: Path, columns: Mapping[str, str]) -> list[str] | None:
        """See `ShardFormat`: names of labels are in `shards.json` alone."""
        return None

    def rows(self, files: Sequence[Path], columns: Mapping[str, str], *, skip: int = 0) -> Iterator[Row]:
        """See `ShardFormat`."""
        return islice(self._rows(files, columns, skip), skip, None)

    def labels(self, files: Sequence[Path], columns: Mapping[str, str]) -> Iterator[Row]:
        """See `ShardFormat`."""
        return self._rows(files, columns, None)

    def image(self, file: Path, columns: Mapping[str, str], row: int) -> dict[str, Any]:
        """See `ShardFormat`."""
        offset, size = _places(str(file))[row]
        with open(file, "rb") as opened:
            opened.seek(offset)
            return {"bytes": opened.read(size), "path": None}

    def write(self, file: Path, rows: Iterable[Row], names: Sequence[str]) -> None:
        """See `ShardFormat`."""
        with tarfile.open(file, "w") as archive:
            for number, row in enumerate(rows):
                lists = {"labels": row.labels, "unknown": row.unknown}
                told = {"image_id": row.image_id} | {
                    name: [names[label] for label in labels] for name, labels in lists.items()
                }
                text = json.dumps(told, ensure_ascii=False).encode()
                for suffix, data in ((_suffix(row.image["bytes"]), row.image["bytes"]), (".json", text)):
                    member = tarfile.TarInfo(f"{number:08d}{suffix}")
                    member.size = len(data)
                    archive.addfile(member, BytesIO(data))

    def _rows(self, files: Sequence[Path], columns: Mapping[str, str], skip: int | None) -> Iterator[Row]:
        """All rows; the images of the first `skip`, or of all, are not read."""
        number = 0
        for file in files:
            with _opened(file) as archive:
                for sample in _samples(file, archive):
                    reads = skip is not None and number >= skip
                    number += 1
                    yield _row(archive, file, sample, columns, reads=reads)


class _Sample(NamedTuple):
    """One image of an archive: the name that its members share, the image itself, and its labels."""

    key: str
    image: tarfile.TarInfo
    labels: tarfile.TarInfo | None


def _row(archive: tarfile.TarFile, file: Path, sample: _Sample, columns: Mapping[str, str], *, reads: bool) -> Row:
    def content(member: tarfile.TarInfo) -> bytes:
        opened = archive.extractfile(member)
        return opened.read() if opened else b""

    key = sample.key
    try:
        told: Any = json.loads(content(sample.labels)) if sample.labels else None
        labels, unknown, image_id = (
            told.get(name) for name in (columns.get("labels", "labels"), "unknown", "image_id")
        )
    except (ValueError, AttributeError, RecursionError) as error:
        what = "no JSON object in" if sample.labels else "no member"
        raise InputError(
            f"{file}: image {key!r} has {what} {key}.json, which has its labels: add it, or make shards by "
            "sct-hf shard"
        ) from error
    image = {"bytes": content(sample.image), "path": None} if reads else {}
    return Row(key if image_id is None else str(image_id), image, labels, unknown)


def _samples(file: Path, archive: tarfile.TarFile) -> Iterator[_Sample]:
    """The images of an archive. As in WebDataset, an ending is all from the first dot on: a.mask.png is no a.png."""
    members = ((*_parts(member.name), member) for member in archive if member.isfile())
    for key, group in groupby((part for part in members if part[0]), lambda part: part[0]):
        found = [(ending, member) for _, ending, member in group]
        images = [member for ending, member in found if ending in _ENDINGS]
        if len(images) > 1:
            names = " and ".join(member.name for member in images)
            raise InputError(
                f"{file}: image {key!r} has several members, {names}: keep one, or name another such as {key}.mask.png"
            )
        if images:
            yield _Sample(key, images[0], dict(found).get(".json"))
        elif other := next((member for ending, member in found if Path(ending).suffix in _ENDINGS), None):
            raise InputError(
                f"{file}: {other.name} has two endings, and image {key!r} has no member with one: name the image such "
                f"as {key}{Path(other.name).suffix}, or take it out"
            )


def _parts(name: str) -> tuple[str, str]:
    """The name that all members of an image share, and the ending; no name for hidden files."""
    folder, _, file = name.rpartition("/")
    stem, dot, ending = file.partition(".")
    return f"{folder}/{stem}".lstrip("/") if stem else "", f"{dot}{ending}".lower()


def _suffix(data: bytes) -> str:
    """The usual ending of an encoded image."""
    try:
        with PilImage.open(BytesIO(data)) as image:
            found = f".{str(image.format).lower()}".replace(".jpeg", ".jpg")
    except Exception:  # decoders raise almost anything on broken data
        return _NO_SUFFIX
    return found if found in IMAGE_SUFFIXES else _NO_SUFFIX


def _opened(file: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(file, "r:")
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{file} cannot be read as a tar archive ({error}): restore it, or unpack it") from error


@lru_cache(maxsize=64)
def _places(file: str) -> list[tuple[int, int]]:
    """Offset and size of each image in an archive, from its headers alone."""
    with _opened(Path(file)) as archive:
        return [(sample.image.offset_data, sample.image.size) for sample in _samples(Path(file), archive)]
