from collections.abc import Callable
from pathlib import Path

import pytest

from sct_hf.data import load_data
from sct_hf.data.base import LabelledImages
from sct_hf.data.problems import DataError, Problem


@pytest.fixture
def names_by_id() -> Callable[[LabelledImages], dict[str, tuple[set[str], set[str]]]]:
    """Labels and unknown labels of each image, by its id."""

    def named(images: LabelledImages) -> dict[str, tuple[set[str], set[str]]]:
        columns = [[{images.label_names[k] for k in row} for row in images.dataset[c]] for c in ("labels", "unknown")]
        return dict(zip(images.image_ids, zip(*columns, strict=True), strict=True))

    return named


@pytest.fixture
def problems_of() -> Callable[..., list[Problem]]:
    """What is wrong with a data set."""

    def read(name: str, split: str, **options: Path | str) -> list[Problem]:
        with pytest.raises(DataError) as caught:
            load_data(name, split, **options)
        return caught.value.problems

    return read
