"""Decoded, transformed images and their targets, one at a time, for a `DataLoader`."""

import hashlib
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sct_hf.data.base import LabelledImages
from sct_hf.data.decoding import decode_image
from sct_hf.data.transforms import Transform
from sct_hf.errors import InputError


class ImageDataset(Dataset[dict[str, Any]]):
    """Items `{"pixel_values": float32 (3, H, W), "labels": float32 (C,) in {0, 1, -1}, "index": int}`.

    The randomness of an item depends only on (seed, epoch, index), not on the number of workers or the order of
    access, and torch's generator is restored. Resampling asks for (index, repeat) instead: repeat 0 is the item of
    that index, and every further repeat draws new randomness.

    Args:
        images: The images and their labels.
        transform: Function from a PIL image to a tensor; it may draw from torch's generator.
        seed: Seed of the augmentation.
        draft_side: Side in pixels for decoding JPEGs at a reduced size, see `decode_image`. None decodes in full, as
            evaluation needs.
    """

    def __init__(
        self, images: LabelledImages, transform: Transform, seed: int = 0, *, draft_side: int | None = None
    ) -> None:
        self.images = images
        self.transform = transform
        self.seed = seed
        self.draft_side = draft_side
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._targets = torch.from_numpy(images.targets())  # (N, C) int8

    @property
    def epoch(self) -> int:
        """The epoch whose augmentation is drawn."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw the augmentation of `epoch` from now on, in workers that are already running as well."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return one item, of an index or of (index, repeat).

        Raises:
            InputError: The image cannot be decoded; the message names its file.
        """
        index, repeat = key if isinstance(key, tuple) else (key, 0)
        encoded = self.images.encoded(index)
        try:
            image = decode_image(encoded, self.draft_side)
        except Exception as error:
            image_id = self.images.image_ids[index]
            place = encoded["path"] or f"the bytes of image {image_id!r}"
            raise InputError(
                f"image {image_id!r} of data set {self.images.name!r} cannot be decoded: {place} ({error}); "
                "replace the file or take it out of the list"
            ) from error
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(_mixed(self.seed, self.epoch, index, *[repeat] * (repeat > 0)))
            pixel_values: Tensor = self.transform(image)  # (3, H, W)
        return {"pixel_values": pixel_values, "labels": self._targets[index].float(), "index": index}


def _mixed(*numbers: int) -> int:
    """A 63-bit seed in which near tuples share nothing."""
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
