"""Sources of a data set's encoded images: files, or a column of `datasets`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from datasets import Dataset, Image


class ImageSource(Protocol):
    """N encoded images: item n is `{"bytes": … or None, "path": … or None}`, the input of `decode_image`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def select(self, rows: np.ndarray) -> Self:
        """Return the images at `rows` (M,) int64, in that order."""
        ...


class ImageFiles:
    """Images in files.

    Args:
        paths: Their N paths.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.paths = [str(path) for path in paths]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"bytes": None, "path": self.paths[index]}

    def select(self, rows: np.ndarray) -> "ImageFiles":
        """Return the images at `rows`, in that order."""
        return ImageFiles([self.paths[row] for row in rows])


class ImageColumn:
    """Images in a column of a memory-mapped `datasets.Dataset`.

    Args:
        dataset: A data set with a column `image`, of type `Image`.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset.select_columns(["image"]).cast_column("image", Image(decode=False))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.dataset[int(index)]["image"] or {"bytes": None, "path": None}

    def select(self, rows: np.ndarray) -> "ImageColumn":
        """Return the images at `rows`, in that order."""
        return ImageColumn(self.dataset.select(rows))
