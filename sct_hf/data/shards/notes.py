"""What is odd in the shards of a training split: notes for the user."""

import numpy as np

from sct_hf.data.listing import Listing
from sct_hf.data.shards.images import StreamedImages
from sct_hf.data.shards.index import read_contents


def notes_of_stream(images: StreamedImages, evaluation: Listing | None) -> list[str]:
    """Notes on labels without images, images without labels, and equal images.

    Args:
        images: The training images.
        evaluation: The images to score, opened before.
    """
    index, notes = images.index, []
    place = str(index.folder)
    absent = [name for name, count in zip(index.label_names, index.counts().positives, strict=True) if not count]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        notes.append(f"{place}: label {absent[0]!r}{more} has no positive in training")
    if unlabelled := sum(shard.unlabelled for shard in index.shards):
        notes.append(f"{place}: {unlabelled:,} of {index.rows:,} images have no label")
    contents = read_contents(index)  # (N,) uint64
    distinct = np.unique(contents)
    if twice := len(contents) - len(distinct):
        notes.append(f"{place}: {twice:,} of {index.rows:,} images are there more than once")
    looks = (evaluation.looks if evaluation is not None else None) or []
    scored = np.array([int(look.fingerprint.hex()[:16], 16) for look in looks if look.fingerprint], dtype=np.uint64)
    if leaks := int(np.isin(scored, distinct).sum()):
        notes.append(f"{place}: {leaks:,} of {len(looks):,} images that are scored are training images too")
    return notes
