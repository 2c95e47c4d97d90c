"""Options: their facts, ranges and choices."""

from dataclasses import dataclass, field, fields
from typing import Literal

import pytest

from sct_hf.errors import InputError
from sct_hf.options import CheckedOptions, choices_of, default_of, facts_of, option, options_of


@dataclass
class Toy(CheckedOptions):
    rate: float = option(0.5, "A rate.", group="toys", within="(0, 1]", card="always")
    shares: list[float] = option([0.25], "Shares.", group="toys", within="[0, 1)")
    kind: Literal["a", "b"] = option("a", "A kind.", group="toys", identity=False)
    table: str | None = option(None, "A table.", group="toys", file=True, unset="none")


def test_an_option_knows_its_facts() -> None:
    toys = options_of(Toy)
    assert list(toys) == ["rate", "shares", "kind", "table"]
    assert [facts.card for _, facts in toys.values()] == ["always", "changed", "changed", "changed"]
    assert [facts.identity for _, facts in toys.values()] == [True, True, False, True]
    assert [facts.file for _, facts in toys.values()] == [False, False, False, True]
    assert {facts.group for _, facts in toys.values()} == {"toys"}
    assert [default_of(one) for one, _ in toys.values()] == [0.5, [0.25], "a", None]
    assert Toy().shares is not Toy().shares


@pytest.mark.parametrize(
    ("within", "accepted", "refused"),
    [
        ("> 0", [1e-9, 1, 1e9], [0, -1, float("nan")]),
        (">= 0", [0, 0.0, 3], [-1e-9, float("nan")]),
        ("(0, 1)", [0.5], [0, 1, -1, 2]),
        ("[0, 1]", [0, 0.5, 1], [-0.1, 1.1]),
        ("[0, 1)", [0, 0.999], [1, -0.1, float("nan")]),
        ("(0, 1]", [1, 0.001], [0, 1.001]),
    ],
)
def test_ranges(within: str, accepted: list[float], refused: list[float]) -> None:
    @dataclass
    class Ranged(CheckedOptions):
        number: float = option(accepted[0], "A number.", group="toys", within=within)

    for number in accepted:
        assert Ranged(number).number == number
    for number in refused:
        with pytest.raises(InputError, match=f"number is {number}: give a number"):
            Ranged(number)


def test_a_wrong_value_is_named_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"rate is 2: give a number in \(0, 1\]"):
        Toy(rate=2)
    with pytest.raises(InputError, match=r"shares is \[0.5, 1\]: give a number in \[0, 1\)"):
        Toy(shares=[0.5, 1])
    with pytest.raises(InputError, match="kind is 'c': choose from a, b"):
        Toy(kind="c")  # type: ignore[arg-type]


def test_choices_of_types() -> None:
    assert choices_of(list[Literal["a", "b"]]) == ("a", "b")
    assert choices_of(Literal[1, 2] | None) == (1, 2)
    assert choices_of(str | None) == choices_of(list[int]) == ()


def test_a_field_without_facts_or_of_a_name_that_is_taken_is_an_error() -> None:
    @dataclass
    class Plain:
        size: int = field(default=3, metadata={"help": "A size."})

    with pytest.raises(TypeError, match="size is not an option"):
        facts_of(fields(Plain)[0])
    with pytest.raises(TypeError, match="rate is an option twice"):
        options_of(Toy, Toy)


def test_an_option_that_says_too_little_is_an_error() -> None:
    with pytest.raises(ValueError, match="give unset"):
        option(None, "A thing.", group="toys")
    with pytest.raises(ValueError, match="give unset"):
        option(1, "A thing.", group="toys", unset="the model's")
    with pytest.raises(ValueError, match="within is '<3'"):
        option(1, "A thing.", group="toys", within="<3")
