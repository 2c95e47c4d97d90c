"""Decoded, transformed images and their targets, one at a time, for a `DataLoader`."""

import hashlib
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sct_hf.data.base import LabelledImages
from sct_hf.data.decoding import decode_image
from sct_hf.data.shards.stream import StreamedRow
from sct_hf.data.transforms import Transform
from sct_hf.errors import InputError


class _Items(Dataset[dict[str, Any]]):
    """Items `{"pixel_values": float32 (3, H, W), "labels": float32 (C,) in {0, 1, -1}, "index": int}`.

    The randomness of an item depends only on (seed, epoch, index), not on the number of workers or the order of
    access, and torch's generator is restored.

    Args:
        transform: Function from a PIL image to a tensor; it may draw from torch's generator.
        seed: Seed of the augmentation.
        draft_side: Side in pixels for decoding JPEGs at a reduced size, see `decode_image`. None decodes in full, as
            evaluation needs.
    """

    def __init__(self, transform: Transform, seed: int = 0, *, draft_side: int | None = None) -> None:
        self.transform = transform
        self.seed = seed
        self.draft_side = draft_side
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch whose augmentation is drawn."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw the augmentation of `epoch` from now on, in workers that are already running as well."""
        self._epoch.fill_(epoch)

    def _item(self, encoded: dict[str, Any], labels: Tensor, index: int, repeat: int, named: str) -> dict[str, Any]:
        """Decode and transform one image, which is `named` in an error."""
        try:
            image = decode_image(encoded, self.draft_side)
        except Exception as error:
            place = encoded["path"] or "its bytes"
            raise InputError(
                f"{named} cannot be decoded: {place} ({error}); replace the file or take it out of the list"
            ) from error
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(_mixed(self.seed, self.epoch, index, *[repeat] * (repeat > 0)))
            pixel_values: Tensor = self.transform(image)  # (3, H, W)
        return {"pixel_values": pixel_values, "labels": labels.float(), "index": index}


class ImageDataset(_Items):
    """The items of listed images, by index.

    Resampling asks for (index, repeat) instead: repeat 0 is the item of that index, and every further repeat draws new
    randomness.

    Args:
        images: The images and their labels.
        transform: See `_Items`, as for the arguments below.
        seed: Seed of the augmentation.
        draft_side: Side in pixels for decoding JPEGs at a reduced size.
    """

    def __init__(
        self, images: LabelledImages, transform: Transform, seed: int = 0, *, draft_side: int | None = None
    ) -> None:
        super().__init__(transform, seed, draft_side=draft_side)
        self.images = images
        self._targets = torch.from_numpy(images.targets())  # (N, C) int8

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return one item, of an index or of (index, repeat).

        Raises:
            InputError: The image cannot be decoded; the message names its file.
        """
        index, repeat = key if isinstance(key, tuple) else (key, 0)
        named = f"image {self.images.image_ids[index]!r} of data set {self.images.name!r}"
        return self._item(self.images.encoded(index), self._targets[index], index, repeat, named)


class StreamedDataset(_Items):
    """The items of a stream: a key is the row itself, from `sct_hf.data.shards.stream.ShardBatches`."""

    def __getitem__(self, row: StreamedRow) -> dict[str, Any]:
        """Return the item of a row.

        Raises:
            InputError: The image cannot be decoded.
        """
        return self._item(row.image, torch.from_numpy(row.marks), row.number, 0, f"the image of row {row.number}")


def _mixed(*numbers: int) -> int:
    """A 63-bit seed in which near tuples share nothing."""
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
