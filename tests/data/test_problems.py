import pytest

from sct_hf.data.problems import SHOWN, DataError, Problems
from sct_hf.errors import InputError


def test_nothing_is_raised_where_nothing_is_wrong() -> None:
    Problems().raise_if_any()


def test_one_problem_is_its_own_message() -> None:
    problems = Problems()
    problems.add("kind", "x.csv, line 3", "it is wrong", "mend it")
    with pytest.raises(InputError) as caught:
        problems.raise_if_any()
    assert str(caught.value) == "x.csv, line 3: it is wrong: mend it"


def test_problems_come_in_the_order_of_lines_and_a_kind_is_cut_short() -> None:
    problems = Problems()
    for line in range(SHOWN + 5, 0, -1):
        problems.add("many", f"x.csv, line {line}", "wrong", "mend it")
    problems.add("one", "x.csv, line 7", "other", "mend it")
    with pytest.raises(DataError) as caught:
        problems.raise_if_any()
    assert len(caught.value.problems) == SHOWN + 6
    lines = str(caught.value).splitlines()
    assert lines[0] == f"the data has {SHOWN + 6} problems:"
    assert [line.split(":")[0] for line in lines[1:4]] == [f"  x.csv, line {number}" for number in (1, 2, 3)]
    assert lines[-1] == "  … and 5 more of the kind: many"
    assert len(lines) == 1 + SHOWN + 1 + 1


def test_places_with_what_only_looks_like_numbers_are_sorted() -> None:
    problems = Problems()
    for place in ("10", "x²", "9" * 5000, "9"):
        problems.add("kind", place, "wrong", "mend it")
    with pytest.raises(DataError) as caught:
        problems.raise_if_any()
    assert [problem.place for problem in caught.value.problems] == ["9" * 5000, "9", "10", "x²"]
