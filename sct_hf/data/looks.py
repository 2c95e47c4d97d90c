"""One look at each image of a listing: whether training can read it, and its fingerprint."""

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from sct_hf.data.decoding import decode_image
from sct_hf.data.fingerprint import fingerprint
from sct_hf.data.listing import Listing, Look, Record
from sct_hf.errors import InputError
from sct_hf.model.image_processing_sct import to_rgb
from sct_hf.progress import step_bar

MISSING = "missing"
_SMALLEST = 1  # JPEGs are decoded at an eighth of their size: their data is read to the end all the same
_ADDRESS = re.compile(r" <_io\.BytesIO.*?>")
_ROWS = 256  # of a column that are in memory at a time


def examine(listing: Listing) -> Listing:
    """Open the images of a listing, each file once, and return it with `looks`; a listing with `looks` is unchanged.

    If the listing treats equal files as one image, their records are merged.
    """
    if listing.looks is not None:
        return listing
    looks = [Look() for _ in listing.records] if listing.is_sound else _looks(listing)
    listing = replace(listing, looks=looks)
    return _merged(listing) if listing.one_image_by_content else listing


def look_at(encoded: dict[str, Any]) -> Look:
    """Read an image's bytes, decode them as training does, and compute their fingerprint, with one access to the file.

    Args:
        encoded: `bytes` and `path`, as in an undecoded column of images.
    """
    data, path = encoded["bytes"], encoded["path"]
    if data is None and path and "://" in path:
        return Look()
    if data is None and not path:
        return Look(MISSING)
    try:
        data = Path(path).read_bytes() if data is None else data
        to_rgb(decode_image({"bytes": data, "path": None}, _SMALLEST))
    except FileNotFoundError:
        return Look(MISSING)
    except Exception as error:  # decoders raise almost anything on broken data
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Look(f"broken: {_ADDRESS.sub('', reason)}")
    return Look(None, fingerprint(data))


def none_there(listing: Listing) -> str | None:
    """Where the images of an examined listing were looked for, if there are several and none is there."""
    if len(listing.records) < 2 or any(look.fault != MISSING for look in listing.looks or []):
        return None
    paths = [record.path for record in listing.records if record.path is not None]
    if len(paths) < len(listing.records):
        return None
    folder = os.path.commonpath([path.absolute().parent for path in paths])
    return f"none of the {len(paths)} listed images is in {folder}, first {listing.records[0].image!r}"


def _looks(listing: Listing) -> list[Look]:
    def seen(looks: Iterable[Look], count: int) -> Iterator[Look]:
        return iter(step_bar(looks, total=count, desc="opening images", unit="image"))

    with ThreadPoolExecutor() as pool:
        if listing.images is not None:
            return [*seen((look for rows in _rows(listing) for look in pool.map(look_at, rows)), len(listing.records))]
        paths = dict.fromkeys(record.path for record in listing.records)
        encoded = [{"bytes": None, "path": None if path is None else str(path)} for path in paths]
        look_of = dict(zip(paths, seen(pool.map(look_at, encoded), len(paths)), strict=True))
    return [look_of[record.path] for record in listing.records]


def _rows(listing: Listing) -> Iterator[list[dict[str, Any]]]:
    images = listing.images
    assert images is not None
    for start in range(0, len(images), _ROWS):
        try:
            rows = [images[row] for row in range(start, min(start + _ROWS, len(images)))]
        except Exception as error:  # pyarrow raises almost anything on damaged files
            text = f"{listing.source}: the column of images is damaged ({error}): save or download it again"
            raise InputError(text) from error
        yield rows


def _merged(listing: Listing) -> Listing:
    """Merge records with equal fingerprints, with all their labels; unreadable images stay separate."""
    assert listing.looks is not None
    kept: dict[object, tuple[Record, Look]] = {}
    for record, look in zip(listing.records, listing.looks, strict=True):
        known = kept.setdefault(look.fingerprint or record.path, (record, look))[0]
        if known is not record:
            known.labels.extend(label for label in record.labels if label not in known.labels)
    notes = list(listing.notes)
    if len(listing.records) > len(kept):
        notes.append(f"{listing.source}: {len(listing.records)} files are {len(kept)} images")
    records = [record for record, _ in kept.values()]
    return replace(listing, records=records, looks=[look for _, look in kept.values()], notes=notes)
