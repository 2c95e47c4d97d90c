"""Labels hidden on purpose: the protocols for measuring training with incomplete labels."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.files import atomic_write


def known_entries(
    image_ids: Sequence[str], label_names: Sequence[str], *, split: str, proportion: float, seed: int
) -> np.ndarray:
    """Draw the (image, label) entries that stay known, present and absent alike (the protocol of CLSL and DSRB).

    Each entry has a number that depends only on the seed, the split and the names of image and label. It stays known
    if its number is below the proportion. Other images and labels and their order do not matter. Entries known at a
    proportion are also known at every larger one.

    Args:
        image_ids: N names of images.
        label_names: C names of labels.
        split: Name of the split.
        proportion: Probability, in (0, 1].
        seed: Seed of the mask.

    Returns:
        Bool (N, C).
    """
    return _numbers(image_ids, label_names, split, seed) < proportion


def single_positives(
    targets: np.ndarray, image_ids: Sequence[str], label_names: Sequence[str], *, split: str, seed: int
) -> np.ndarray:
    """Draw one present label of each image, the only entry that stays known (Cole et al., CVPR 2021).

    Args:
        targets: (N, C): 1 present. An image without a present label has no known entry.
        image_ids: N names of images.
        label_names: C names of labels.
        split: Name of the split.
        seed: Seed of the mask.

    Returns:
        Bool (N, C), at most one entry per row.
    """
    present = targets == 1
    numbers = np.where(present, _numbers(image_ids, label_names, split, seed), 2.0)
    known = np.zeros_like(present)
    known[np.arange(len(known)), numbers.argmin(axis=1)] = True
    return known & present


def hide_labels(
    images: LabelledImages, *, split: str, proportion: float, single_positive: bool, seed: int
) -> LabelledImages:
    """Return the images with only the targets of `known_entries` or `single_positives`; all others are unknown.

    Unknown targets stay unknown.

    Args:
        images: The images.
        split: Name of the split that they belong to.
        proportion: See `known_entries`; 1 keeps all.
        single_positive: Keep one present label of each image instead.
        seed: Seed of the mask.
    """
    names, labels = images.image_ids, images.label_names
    if single_positive:
        return images.with_unknown(~single_positives(images.targets(), names, labels, split=split, seed=seed))
    if proportion == 1:
        return images
    return images.with_unknown(~known_entries(names, labels, split=split, proportion=proportion, seed=seed))


def save_known(images: LabelledImages, path: str | Path) -> None:
    """Write the known targets as a compressed NumPy file for `numpy.load`.

    Args:
        images: The images.
        path: The .npz file: `image_ids` (N,), `label_names` (C,), `known` bool (N, C).

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_write(path) as temporary:
        np.savez_compressed(
            temporary,
            image_ids=np.array(images.image_ids),
            label_names=np.array(images.label_names),
            known=images.targets() >= 0,
        )


def _numbers(image_ids: Sequence[str], label_names: Sequence[str], split: str, seed: int) -> np.ndarray:
    """A number in [0, 1) for each image and label, float64 (N, C)."""
    rows, columns = _hashes(image_ids, f"{seed}/{split}"), _hashes(label_names, "label")
    mixed = rows[:, None] ^ columns[None]
    # The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): every bit of its input decides every bit it gives.
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) * 2.0**-53


def _hashes(texts: Sequence[str], context: str) -> np.ndarray:
    """A 64-bit hash of each text, uint64."""
    digests = (hashlib.blake2b(f"{context}/{text}".encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
