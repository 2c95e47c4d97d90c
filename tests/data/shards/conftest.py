from collections.abc import Callable

import pytest

from sct_hf.data.base import LabelledImages

NAMES = ["cat", "dog", "été"]


@pytest.fixture
def images(make_images: Callable[..., LabelledImages]) -> LabelledImages:
    """23 images of three labels, some unknown, some without any."""
    rows = [
        ([NAMES[number % 3]] * (number % 5 > 0), [NAMES[(number + 1) % 3]] * (number % 4 == 0)) for number in range(23)
    ]
    return make_images(rows, NAMES)
