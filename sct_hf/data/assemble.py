"""Build `LabelledImages` from a checked listing."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.data.image_sources import ImageFiles, ImageSource
from sct_hf.data.listing import Listing, Record
from sct_hf.data.looks import examine, none_there
from sct_hf.errors import InputError


def labelled_images(
    listing: Listing,
    label_names: Sequence[str],
    *,
    name: str,
    split: str,
    difficult_unknown: bool = False,
    skip_missing_images: bool = False,
) -> LabelledImages:
    """Build the data set. Memory holds paths and marks, not the images.

    Args:
        listing: The images; they are opened now unless they were before.
        label_names: The C label names; every label of a record is one of them.
        name: Name of the data set.
        split: Name of the split.
        difficult_unknown: Labels with only difficult objects are unknown; else they are absent.
        skip_missing_images: Skip missing or broken images instead of raising.

    Raises:
        InputError: Images are missing or broken, there is no image, an id repeats, or there are fewer than two labels.
    """
    listing = examine(listing)
    records, looks = listing.records, listing.looks or []
    twice = [image_id for image_id, count in Counter(record.image for record in records).items() if count > 1]
    if twice:
        raise InputError(
            f"split {split!r} of data set {name!r} lists {len(twice)} images twice, first {', '.join(twice[:5])}: "
            "list each once, with all its labels"
        )
    faults = {index: look.fault for index, look in enumerate(looks) if look.fault}
    if faults and not skip_missing_images:
        if text := none_there(listing):
            raise InputError(
                f"split {split!r} of data set {name!r}: {text}: give the folder of the images by data_dir, or correct "
                "the paths"
            )
        found = list(faults.items())[:5]
        first = "; ".join(f"{records[index].image} at {listing.file_of(index)} ({fault})" for index, fault in found)
        raise InputError(
            f"{len(faults)} of {len(records)} images of split {split!r} of data set {name!r} are missing or broken, "
            f"first {first}: restore them, or set skip_missing_images"
        )
    kept = [index for index in range(len(records)) if index not in faults]
    source: ImageSource = (
        ImageFiles([str(records[index].path) for index in kept])
        if listing.images is None
        else listing.images
        if len(kept) == len(records)
        else listing.images.select(np.array(kept, dtype=np.int64))
    )
    return LabelledImages(
        source,
        marks_of([records[index] for index in kept], label_names, difficult_unknown=difficult_unknown),
        list(label_names),
        [records[index].image for index in kept],
        name,
        split,
        tuple(records[index].image for index in faults),
    )


def marks_of(records: Sequence[Record], label_names: Sequence[str], *, difficult_unknown: bool = False) -> np.ndarray:
    """Marks (N, C) int8 of records: 1 present, -1 unknown, 0 absent. Present wins over unknown."""
    column_of = {label: column for column, label in enumerate(label_names)}
    marks = np.zeros((len(records), len(column_of)), dtype=np.int8)
    for row, record in enumerate(records):
        if difficult_unknown:
            marks[row, [column_of[label] for label in record.difficult]] = -1
        marks[row, [column_of[label] for label in record.unknown]] = -1
        marks[row, [column_of[label] for label in record.labels]] = 1
    return marks
