from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sct_hf.data import load_data
from sct_hf.data.base import LabelledImages
from sct_hf.data.problems import DataError, Problem


@pytest.fixture
def names_by_id() -> Callable[[LabelledImages], dict[str, tuple[set[str], set[str]]]]:
    """Labels and unknown labels of each image, by its id."""

    def named(images: LabelledImages) -> dict[str, tuple[set[str], set[str]]]:
        def having(row: np.ndarray, mark: int) -> set[str]:
            return {images.label_names[column] for column in np.flatnonzero(row == mark)}

        pairs = [(having(row, 1), having(row, -1)) for row in images.targets()]
        return dict(zip(images.image_ids, pairs, strict=True))

    return named


@pytest.fixture
def problems_of() -> Callable[..., list[Problem]]:
    """What is wrong with a data set."""

    def read(name: str, split: str, **options: Path | str) -> list[Problem]:
        with pytest.raises(DataError) as caught:
            load_data(name, split, **options)
        return caught.value.problems

    return read
