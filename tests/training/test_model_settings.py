"""Settings of the model's configuration as words: read, written, and the same afterwards."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sct_hf.training.model_settings import read_setting, setting_word

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


@given(VALUES)
def test_a_word_is_read_as_what_it_was_made_of(value: Any) -> None:
    name, again = read_setting(setting_word("field", value))
    assert (name, again, type(again)) == ("field", value, type(value))


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=1", 1),
        ("a=0.5", 0.5),
        ("a=1e-3", 1e-3),
        ("a=true", True),
        ("a=label", "label"),
        ("a=[1, 2]", [1, 2]),
        ("a={hidden_size: 8}", {"hidden_size": 8}),
        ('a={"hidden_size": 8}', {"hidden_size": 8}),
        ("a=b=c", "b=c"),
        ("a=", None),
        ("a=2001-99-99", "2001-99-99"),
        ("a={", "{"),
    ],
)
def test_words_that_people_write(word: str, value: Any) -> None:
    assert read_setting(word) == ("a", value)
    assert type(read_setting(word)[1]) is type(value)


def test_numbers_beyond_any_are_read_as_such() -> None:
    assert math.isinf(read_setting("a=1e999")[1])


@pytest.mark.parametrize("word", ["dropout", "=1", "a b=1", "--x=1", ""])
def test_no_setting(word: str) -> None:
    with pytest.raises(ValueError, match="is not a setting: write field=value"):
        read_setting(word)
