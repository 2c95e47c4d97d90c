import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sct_hf.data.cells import SEPARATORS, names_in, separator_hint
from sct_hf.data.names import UnusableError, clean_name, means_nothing


@pytest.mark.parametrize(
    "cell",
    [
        ["dog", "cat"],
        ("dog", "cat"),
        '["dog", "cat"]',
        "['dog', 'cat']",
        "('dog', 'cat')",
        "{'dog', 'cat'}",
        "['dog' 'cat']",  # NumPy prints no commas
        "['dog'\n 'cat']",
        "['dog', '\ncat']",
        '{"choices": ["dog", "cat"]}',
        "{'choices': ['dog', 'cat']}",
        {"choices": ["dog", "cat"]},
        "dog|cat",
        "dog; cat ;",
        " dog,cat",
        "dog|cat|dog",
    ],
)
def test_each_form_of_a_list(cell: object) -> None:
    assert names_in(cell) == ["dog", "cat"]


@pytest.mark.parametrize("cell", [None, "", "  ", "[]", "()", "{}", "set()", [], ";"])
def test_each_form_of_no_label(cell: object) -> None:
    assert names_in(cell) == []


@pytest.mark.parametrize(
    ("separator", "names"),
    [
        ("auto", ["a b", "c", "d", "e/f"]),
        ("comma", ["a b|c;d", "e/f"]),
        ("pipe", ["a b", "c;d,e/f"]),
        ("semicolon", ["a b|c", "d,e/f"]),
        ("space", ["a", "b|c;d,e/f"]),
        ("none", ["a b|c;d,e/f"]),
        ("/", ["a b|c;d,e", "f"]),
    ],
)
def test_separators(separator: str, names: list[str]) -> None:
    assert names_in("a b|c;d,e/f", separator) == names


def test_a_label_alone_and_names_with_brackets() -> None:
    assert names_in("(small) dog|bird (flying)") == ["(small) dog", "bird (flying)"]
    assert names_in('{"choices": "dog"}') == ["dog"]
    assert names_in('["it\'s", "a, b"]') == ["it's", "a, b"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("nan", "holds 'nan', which stands for no value: leave the cell empty"),
        ("dog|N/A", "holds 'N/A'"),
        ("[dog]", r"is '\[dog\]', which is no JSON list"),
        ("['a' 'b' ... 'c']", "no JSON list"),
        ("['it''s']", "no JSON list"),
        ("['caf\\xe9', 'dog']", "no JSON list"),
        ('["dog"', "no JSON list"),
        ('{"a": 1}', "holds an object, no list"),
        ("[1, 0]", "label 1 is a number"),
        ("[true]", "label True is true or false"),
        ("[null]", "label None is nothing"),
        ("(1, 2)", "label 1 is a number"),
        ("'dog', 'cat'", "brackets or quotes"),
        ("array(['dog'], dtype=object)", "brackets or quotes"),
        (3, "is 3, a number"),
        (True, "is True, true or false"),
        ({"label": "dog"}, "is an object with 'label'"),
        (["dog", ["cat"]], "is a list"),
        (["dog", ""], "a label is empty"),
        ("[" * 50_000, "no JSON list"),
        ("(" * 50_000, "brackets or quotes"),
        ("[" + "' " * 50_000, "no JSON list"),
    ],
)
def test_what_cannot_be_read(cell: object, message: str) -> None:
    with pytest.raises(UnusableError, match=message) as caught:
        names_in(cell)
    assert len(str(caught.value)) < 500


def test_a_label_that_is_called_none_can_be_written() -> None:
    assert names_in('["none", "-"]') == ["none", "-"]


NAMES = st.text(st.characters(categories=["L", "N", "Zs"], include_characters="-_.&'"), min_size=1, max_size=8)


@given(st.lists(NAMES, max_size=5))
def test_a_json_list_is_read_back(names: list[str]) -> None:
    try:
        wanted = list(dict.fromkeys(map(clean_name, names)))
    except UnusableError:
        with pytest.raises(UnusableError):
            names_in(json.dumps(names))
        return
    assert names_in(json.dumps(names)) == names_in(names) == wanted


WORDS = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=6).filter(lambda word: not means_nothing(word))


@given(st.lists(WORDS, min_size=1, max_size=5, unique=True), st.sampled_from(["comma", "pipe", "semicolon", "space"]))
def test_a_separated_cell_is_read_back(names: list[str], separator: str) -> None:
    wanted = list(dict.fromkeys(map(clean_name, names)))
    assert names_in(str(SEPARATORS[separator]).join(names), separator) == wanted


@pytest.mark.parametrize(
    ("cells", "hint"),
    [
        (["chair", "car person", "horse person", "car", "horse"], "space"),
        (["scab", "scab rust", "rust", "healthy"], "space"),
        (["traffic light", "stop sign", "car", "dog"], None),
        (["red car", "car", "blue van"], None),
        (["dog|cat", "dog cat"], None),
        (["dog", "cat", ""], None),
        (['["dog cat", "dog"]', '["cat"]'], None),
        (["dog|cat", "dog,cat"], "set separator to the other"),
        ([["dog"], None, 3], None),
    ],
)
def test_blanks_and_several_separators_are_suspected(cells: list[object], hint: str | None) -> None:
    found = separator_hint(cells)
    assert (found is None) if hint is None else (found is not None and hint in found)
    assert separator_hint(cells, "none") is None


@pytest.mark.parametrize("mark", ["/", "+", ":", " & ", "，", "、", "·"])
def test_marks_that_seem_to_part_labels_are_told(mark: str) -> None:
    cells = [f"dog{mark}cat", "dog", f"cat{mark}sofa", f"sofa{mark}dog"]
    assert f"{mark.strip()!r} between them" in (separator_hint(cells) or "")
    assert separator_hint(cells, mark) is None
    assert separator_hint([f"sun{mark}flower", "dog", "cat"]) is None
