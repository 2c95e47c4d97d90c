"""Lists of names in messages."""

import pytest

from sct_hf.name_lists import some


@pytest.mark.parametrize(
    ("number", "count", "expected"),
    [
        (0, 2, "none"),
        (2, 2, "l0, l1"),
        (3, 2, "l0, l1 and 1 more"),
        (20_002, 2, "l0, l1 and 20,000 more"),
    ],
)
def test_the_first_names_and_the_number_of_the_others(number: int, count: int, expected: str) -> None:
    names = [f"l{place}" for place in range(number)]
    assert some(names, count) == expected
    assert some(dict.fromkeys(names), count) == expected  # any collection
