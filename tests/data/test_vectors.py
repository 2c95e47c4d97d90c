from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sct_hf.data.names import UnusableError
from sct_hf.data.vectors import are_numbers, decode_numbers

NAMES = ["dog", "cat", "sofa"]


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 1, 0], [0, 0, 1], [0, 0, 0]],
        [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],
        [[True, True, False], [False, False, True], [False, False, False]],
    ],
)
def test_vectors_of_any_type(rows: list[list[Any]]) -> None:
    assert decode_numbers(rows, NAMES).present == [["dog", "cat"], ["sofa"], []]


def test_minus_one_and_nan_are_unknown() -> None:
    for unknown in (-1, -1.0, float("nan")):
        read = decode_numbers([[1, 0, unknown], [0, unknown, 0]], NAMES)
        assert (read.present, read.unknown) == ([["dog"], []], [["sofa"], ["cat"]])


@pytest.mark.parametrize("rows", [[[0, 2], [], [1]], [[0, 1], [0], []], [[2, 2, 1]], [[0], [1], [2]]])
def test_indices(rows: list[list[int]]) -> None:
    wanted = [list(dict.fromkeys(NAMES[number] for number in row)) for row in rows]
    assert decode_numbers(rows, NAMES).present == wanted


def test_a_number_for_each_object_is_an_index() -> None:
    assert decode_numbers([[0, 0, 1], [1, 1, 0]], NAMES, indices_only=True).present == [["dog", "cat"], ["cat", "dog"]]


@pytest.mark.parametrize(
    ("rows", "names", "options", "message"),
    [
        ([[1, 1, 0]], None, {}, "0/1 vectors of 3 numbers without names.* by labels_file"),
        ([[0, 4], [7]], None, {}, r"numbers without names, such as \[0, 4\].* by labels_file"),
        ([[1, 0], [0, 1]], None, {}, "a 0/1 vector .*, or the numbers of the labels .* labels_file"),
        ([[0, 1], [1, 0]], ["no", "yes"], {"declared": True}, r"\(no, yes\) or a 0/1 vector \(yes\)"),
        ([[1, 1, 0], [0, 1, 1]], ["no", "yes"], {"declared": True}, "0/1 vectors, since .* 3 numbers for 2 names"),
        ([[1, 1], [0, 1]], ["no", "yes"], {"declared": True}, "0/1 vector"),
        ([[1, 1, 0, 0]], NAMES, {}, "since a number appears twice in a row, but they have 4 numbers for 3 names"),
        ([[0.5, 1.0, 0.0]], NAMES, {}, "0.5 is neither 0 nor 1"),
        ([[1.0], [2.0]], NAMES, {}, "2.0 is neither 0 nor 1"),
        ([[True], [False]], NAMES, {}, "since they are true and false, but they have 1 numbers for 3 names"),
        ([[0, 0], [1]], NAMES, {}, r"can be the numbers of labels \(dog\) or a 0/1 vector"),
        ([[0, 3]], NAMES, {}, "label 3 is none of the 3 names, which are numbered from 0 to 2"),
        ([[-1], [2]], NAMES, {}, "label -1 is none of the 3 names"),
        ([[10**30]], NAMES, {}, "is none of the 3 names"),
    ],
)
def test_what_is_refused(rows: list[list[Any]], names: list[str] | None, options: Any, message: str) -> None:
    with pytest.raises(UnusableError, match=message):
        decode_numbers(rows, names, **options)


def test_only_numbers_are_numbers() -> None:
    assert are_numbers([[1, 0], []])
    assert are_numbers([[True]])
    assert not are_numbers([[], []])
    assert not are_numbers([[1, "dog"]])


MATRICES = st.integers(3, 6).flatmap(
    lambda count: st.lists(st.lists(st.sampled_from([0, 1]), min_size=count, max_size=count), min_size=1, max_size=6)
)


@given(MATRICES)
def test_vectors_of_three_and_more_labels_are_never_taken_for_indices(rows: list[list[int]]) -> None:
    names = [f"label {number}" for number in range(len(rows[0]))]
    wanted = [[name for name, mark in zip(names, row, strict=True) if mark] for row in rows]
    assert decode_numbers(rows, names).present == wanted


@given(st.lists(st.lists(st.integers(0, 5), max_size=4, unique=True), min_size=1, max_size=6))
def test_indices_are_never_taken_for_vectors(rows: list[list[int]]) -> None:
    names = [f"label {number}" for number in range(6)]
    assert decode_numbers(rows, names).present == [[names[number] for number in row] for row in rows]
