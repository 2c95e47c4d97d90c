"""The images of shards: by random access, as an `ImageSource`, or only counted, for a stream."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.data.label_counts import LabelCounts
from sct_hf.data.shards.formats import format_of
from sct_hf.data.shards.index import ShardIndex
from sct_hf.errors import InputError


class ShardImages:
    """Images of shards by random access; see `sct_hf.data.image_sources.ImageSource`.

    Args:
        index: The shards.
        numbers: Numbers (N,) of rows in the folder; all rows of `index` if None.
    """

    def __init__(self, index: ShardIndex, numbers: np.ndarray | None = None) -> None:
        self.index = index
        self.numbers = index.numbers if numbers is None else numbers
        self._starts = [shard.start for shard in index.shards]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = int(self.numbers[index])
        shard = self.index.shards[bisect_right(self._starts, number) - 1]
        file = self.index.folder / shard.file
        return format_of(file).image(file, self.index.columns, number - shard.start)

    def select(self, rows: np.ndarray) -> "ShardImages":
        """Return the images at `rows`, in that order."""
        return ShardImages(self.index, self.numbers[rows])


@dataclass(frozen=True)
class StreamedImages:
    """Training images that are read in a stream, shard by shard: nothing is kept for each image.

    Attributes:
        index: Their shards.
        name: Name of the data set.
        split: Name of the split.
        skipped: Ids of skipped images: none, since shards are checked when they are made.
    """

    index: ShardIndex
    name: str
    split: str
    skipped: tuple[str, ...] = ()

    @property
    def label_names(self) -> list[str]:
        """The C label names."""
        return self.index.label_names

    def __len__(self) -> int:
        return self.index.rows

    def counts(self) -> LabelCounts:
        """Counts of each label."""
        return self.index.counts()

    def holds(self, source: object) -> int:
        """How many images of a source are rows of these shards."""
        if not isinstance(source, ShardImages) or source.index.home != self.index.home:
            return 0
        return int(np.isin(source.numbers, self.index.numbers).sum())


TrainingImages = LabelledImages | StreamedImages


def listed(images: TrainingImages, wanted_by: str) -> LabelledImages:
    """The images if they are listed one by one.

    Args:
        images: Training images.
        wanted_by: The option, with its value, or what else needs every image and its labels at hand.

    Raises:
        InputError: They are streamed.
    """
    if isinstance(images, StreamedImages):
        raise InputError(
            f"{wanted_by}: it needs a list of all images, but shards are read in a stream. Leave it out; or apply it "
            f"before sct-hf shard; or read Parquet shards as a list, by --dataset {images.index.folder}"
        )
    return images
