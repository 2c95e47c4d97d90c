import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sct_hf.data.names import UnusableError, clean_name, means_nothing, plain_name, shown


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (" dog ", "dog"),
        ("dining\u00a0table\n", "dining table"),
        ("cafe\u0301", "caf\u00e9"),
        ("do\u200bg", "dog"),
        ("so\u00adfa", "sofa"),
        ("\ufeffdog\u200e", "dog"),
        ("d\u200dog\u200d", "dog"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\U0001f469\u200d\U0001f467", "\U0001f469\u200d\U0001f467"),
        ("bird (flying)", "bird (flying)"),
        ("(small) dog", "(small) dog"),
        ("dogs'", "dogs'"),
        ('tv 24"', 'tv 24"'),
        ("rock 'n' roll", "rock 'n' roll"),
        ("unknown", "unknown"),
        ("$1_000", "$1_000"),
    ],
)
def test_what_a_name_becomes(written: str, name: str) -> None:
    assert clean_name(written) == name
    assert clean_name(name) == name


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (3, "label 3 is a number: labels are text"),
        (1.5, "label 1.5 is a number"),
        (True, "label True is true or false"),
        (None, r"label None is nothing \(null\)"),
        (["dog"], r"label \['dog'\] is a list"),
        ({"label": "dog"}, "label an object is an object"),
        ("", "a label is empty"),
        (" \u200b\u00ad", "a label is empty"),
        ("a\x1b[31m", r"holds U\+001B"),
        ("a\ud800", r"holds U\+D800"),
        ("'dog'", "brackets or quotes of a list"),
        ('"dog"', "brackets or quotes of a list"),
        ("\u201cdog\u201d", "brackets or quotes of a list"),
        ("['dog'", "brackets or quotes of a list"),
        ("[dog]", "brackets or quotes of a list"),
        ("dog)", "brackets or quotes of a list"),
        ("{dog", "brackets or quotes of a list"),
        ("'dog", "brackets or quotes of a list"),
        ("frozenset({'dog'})", "brackets or quotes of a list"),
    ],
)
def test_what_is_no_name(written: object, message: str) -> None:
    with pytest.raises(UnusableError, match=message):
        clean_name(written)


@given(st.text())
def test_a_clean_name_stays_as_it_is_and_says_all_that_shows(text: str) -> None:
    try:
        name = clean_name(text)
    except UnusableError:
        return
    assert clean_name(name) == name
    assert name == unicodedata.normalize("NFC", name).strip()
    letters = [letter for letter in unicodedata.normalize("NFD", text) if letter.isalpha()]
    assert [letter for letter in unicodedata.normalize("NFD", name) if letter.isalpha()] == letters


@pytest.mark.parametrize("text", ["nan", " NaN ", "None", "null", "N/A", "#N/A", "<NA>", "-", "--", "?", ""])
def test_text_that_stands_for_nothing(text: str) -> None:
    assert means_nothing(text)


@pytest.mark.parametrize("text", ["unknown", "nano", "no", "0", "a-b"])
def test_text_that_is_something(text: str) -> None:
    assert not means_nothing(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("cat", "c\u0430t", True),  # a Cyrillic a
        ("dog", "\uff44\uff4f\uff47", True),
        ("cat", "car", False),
    ],
)
def test_letters_that_look_alike(one: str, other: str, same: bool) -> None:
    assert (plain_name(one) == plain_name(other)) is same
    assert plain_name(one, lookalikes=False) != plain_name(other, lookalikes=False)


def test_messages_are_never_long() -> None:
    nested: object = "x"
    for _ in range(40):
        nested = [nested, nested]  # 2^40 entries, if they were written out
    values = ["x" * 10_000, nested, {"a": nested}, [["x"]], list(range(10_000)), ["x" * 10_000], 7]
    assert all(len(shown(value)) < 200 for value in values)


def test_a_name_that_is_too_long() -> None:
    assert clean_name("x" * 50_000) == "x" * 50_000
    with pytest.raises(UnusableError, match=r"a label has 50001 characters \('xxx.*…'\): give it a name of 50000"):
        clean_name("x" * 50_001)
