"""Options of a command: dataclass fields that also serve help, checks, records and model cards."""

import difflib
import math
import os
import re
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sct_hf.errors import InputError

Card = Literal["always", "changed", "never"]
SEED = "[0, 2147483648)"
"""The range of a seed: NumPy takes 32 bits, to which the number of the process may be added."""
_FACTS = "option"
_RANGE = re.compile(r"(?P<sign>>=?) (?P<bound>\S+)|(?P<left>[\[(])(?P<low>\S+), (?P<high>\S+)(?P<right>[\])])")


@dataclass(frozen=True)
class OptionFacts:
    """Facts of an option besides its name, type and default.

    Attributes:
        help: What it does, in one or two sentences.
        group: Title of its section of `--help`.
        identity: Whether it decides what is learnt. A resumed run must have the same value.
        file: Whether the value may name a file, or a folder of weights, that decides what is learnt. Prefixes that
            end in a colon are ignored ("glove:vectors.txt").
        card: When the model card shows it: always, only if it differs from the default, or never.
        recorded: Whether the recorded command of a run repeats it.
        config: Whether it sets a field of the model's configuration, unless it is None.
        unset: What a value of None means, as `--help` says it ("the model's").
        within: Accepted numbers: "> 0", ">= 0", or an interval such as "[0, 1)".
        folder: Whether the value is a folder to write to, created if absent.
    """

    help: str
    group: str
    identity: bool
    file: bool
    card: Card
    recorded: bool
    config: bool
    unset: str | None
    within: str | None
    folder: bool

    def accepts(self, number: float) -> bool:
        """Whether a number is in `within`; NaN, infinity and what no 64 bits hold never are."""
        if abs(number) >= 2**63 if isinstance(number, int) else not math.isfinite(number):
            return False
        found = _RANGE.fullmatch(self.within or "> -inf")
        assert found is not None
        if found["sign"]:
            bound = float(found["bound"])
            return number > bound or (found["sign"] == ">=" and number == bound)
        low, high = float(found["low"]), float(found["high"])
        return (
            low < number < high
            or (found["left"] == "[" and number == low)
            or (found["right"] == "]" and number == high)
        )


def option(
    default: Any,
    help: str,
    *,
    group: str,
    identity: bool = True,
    file: bool = False,
    card: Card = "changed",
    recorded: bool = True,
    config: bool = False,
    unset: str | None = None,
    within: str | None = None,
    folder: bool = False,
) -> Any:
    """Make the dataclass field of an option.

    `contrast_loss_weight: float = option(0.0, "Weight of the contrast.", group="contrast", within=">= 0")`

    Args:
        default: The default. Each object gets its own copy of a list or dict.
        help: What the option does. `OptionFacts` describes this argument and those below in full.
        group: Title of its section of `--help`.
        identity: Whether it decides what is learnt.
        file: Whether it may name a file that decides what is learnt.
        card: When the model card shows it.
        recorded: Whether the recorded command repeats it.
        config: Whether it sets a field of the model's configuration.
        unset: What None means. Required if the default is None, else not allowed.
        within: Accepted numbers.
        folder: Whether it is a folder to write to.

    Raises:
        ValueError: `unset` is missing or not allowed, or `within` has another form.
    """
    if (default is None) != (unset is not None):
        raise ValueError(f"option {help!r}: give unset if the default is None, and only then")
    if within is not None and _RANGE.fullmatch(within) is None:
        raise ValueError(f"option {help!r}: within is {within!r}; write '> 0', '>= 0', or an interval as '[0, 1)'")
    facts = OptionFacts(help, group, identity, file, card, recorded, config, unset, within, folder)
    metadata = {_FACTS: facts, "help": help}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def facts_of(one: "Field[Any]") -> OptionFacts:
    """The facts of an option.

    Raises:
        TypeError: The field was not made by `option`.
    """
    if _FACTS not in one.metadata:
        raise TypeError(f"{one.name} is not an option: make the field with sct_hf.options.option")
    facts = one.metadata[_FACTS]
    assert isinstance(facts, OptionFacts)
    return facts


def options_of(*kinds: Any) -> "dict[str, tuple[Field[Any], OptionFacts]]":
    """Field and facts of each option, by name, of dataclasses or their objects.

    Raises:
        TypeError: A field was not made by `option`, or two classes share the name of an option.
    """
    found: dict[str, tuple[Field[Any], OptionFacts]] = {}
    for kind in kinds:
        for one in fields(kind):
            if one.name in found:
                raise TypeError(f"{one.name} is an option twice: rename one of them")
            found[one.name] = one, facts_of(one)
    return found


def default_of(one: "Field[Any]") -> Any:
    """The default of an option; a list or dict is a new one each time."""
    return one.default if one.default_factory is MISSING else one.default_factory()


def choices_of(annotation: Any) -> tuple[Any, ...]:
    """The values of a `Literal`, of a list of it, or of an optional one; empty for other types."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (list, Union, UnionType):
        return tuple(choice for part in get_args(annotation) for choice in choices_of(part))
    return ()


def did_you_mean(word: str, written: Mapping[str, str]) -> str:
    """The end of an error about an unknown option: up to three options with near names, or a hint at `--help`.

    Args:
        word: The unknown option, with or without dashes.
        written: {name of an option: how it is to be written}.
    """
    near = difflib.get_close_matches(word.lstrip("-").replace("-", "_"), list(written), n=3)
    return f"; did you mean {' or '.join(written[name] for name in near)}?" if near else "; see --help"


def require(holds: bool, name: str, value: object, remedy: str) -> None:
    """Raise `InputError` with option, value and remedy unless `holds`; an empty value is said to be missing."""
    if not holds:
        state = "missing" if value in ("", []) else repr(value)
        raise InputError(f"{name} is {state}: {remedy}")


@dataclass
class CheckedOptions:
    """Options that check their ranges and choices when an object is made.

    A subclass with its own checks calls `super().__post_init__()` first.

    Raises:
        InputError: A value is out of range or not one of the choices.
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name, (_, facts) in options_of(self).items():
            value, choices = getattr(self, name), choices_of(hints[name])
            for item in _items(value):
                require(not choices or item in choices, name, value, f"choose from {', '.join(map(str, choices))}")
                if facts.within is not None:
                    kind = "number" if facts.within.startswith(">") else "number in"
                    require(facts.accepts(item), name, value, f"give a {kind} {facts.within}")
                elif isinstance(item, float):
                    require(facts.accepts(item), name, value, "give a number")
                if facts.folder:
                    file = _file_on_the_way(str(item))
                    require(file is None, name, value, f"{file} is a file; name a folder")


def _file_on_the_way(folder: str) -> str | None:
    """The first of a path and its parents that exists but is not a folder, if any."""
    above = map(str, (Path(folder), *Path(folder).parents))
    return next((path for path in above if os.path.exists(path) and not os.path.isdir(path)), None)


def _items(value: Any) -> Iterator[Any]:
    """The values in a list, or the value itself, without None."""
    yield from (item for item in (value if isinstance(value, list) else [value]) if item is not None)
