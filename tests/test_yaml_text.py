import pytest
import yaml

from sct_hf.yaml_text import YamlError, parse_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]\n" for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "a: 1\nb: [1.5, yes, ~, 'no', x y]\n", "- {a: {b: [1]}}\n", "a: &one [64, 64]\nb: *one\n"],
)
def test_plain_values_are_those_of_pyyaml(text: str) -> None:
    assert parse_yaml(text) == yaml.safe_load(text)


def test_values_that_json_has_not_are_texts() -> None:
    assert parse_yaml("a: 2026-01-01\nb: 2026-99-99") == {"a": "2026-01-01", "b": "2026-99-99"}
    assert parse_yaml("a: NO\n1: 0x1f", as_text=True) == {"a": "NO", "1": "0x1f"}


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (BOMB, "more than 100000 values", 6),
        ("a: &a [*a]", "a value holds itself", 1),
        ("a: 1\nb: 2\na: 3", "key 'a' stands twice", 3),
        ("x: 0\n? [a]\n: 1", "a key is no text", 2),
        ("- " * 60 + "x", "nested more than 50 deep", 1),
        ("[" * 100_000, "nest", 1),
        ("a: [1", "did not find expected", 2),
        ("a: " + "9" * 100_000, "a number has 100000 digits", 1),
        ("a: " + "1:" * 100_000 + "1", "a number has 200001 digits", 1),
        ("a: !!int dog", "not of the type that it is marked as", None),
        ("a: !!binary dog", "could not determine a constructor", 1),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor", 1),
        ("--- 1\n--- 2", "another document", 2),
        ("a: \x07", "special characters|control characters", None),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_what_cannot_be_read_is_named_by_line(text: str, message: str, line: int | None, as_text: bool) -> None:
    """A test that hangs where a text is worked out that its reader should refuse."""
    if as_text and ("number" in message or "type" in message or "constructor" in message):
        assert isinstance(parse_yaml(text, as_text=True)["a"], str | list)
    else:
        with pytest.raises(YamlError, match=message) as caught:
            parse_yaml(text, as_text=as_text)
        assert line is None or caught.value.line == line
