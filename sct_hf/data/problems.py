"""Errors in a user's files, collected so that all are reported together."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sct_hf.errors import InputError
from sct_hf.escaping import in_line

SHOWN = 20
_SORTED = 10_000
_DIGITS = 1000


@dataclass(frozen=True)
class Problem:
    """One error in the data.

    Attributes:
        kind: Its kind in a few words, the same for similar problems.
        place: The file, and the line or entry in it.
        text: The error.
        remedy: The remedy; empty if the text has it.
    """

    kind: str
    place: str
    text: str
    remedy: str

    def __str__(self) -> str:
        return in_line(": ".join(part for part in (self.place, self.text, self.remedy) if part))


class SplitError(InputError):
    """A data set has no such split.

    Args:
        split: Its name.
        reason: What is there instead, and the remedy; it stands behind "but".
        option: What names the split.
    """

    def __init__(self, split: str, reason: str, option: str = "split") -> None:
        super().__init__(f"{option} is {split!r}, but {reason}")
        self.split, self.reason = split, reason


class DataError(InputError):
    """The user's files have errors.

    Attributes:
        problems: All problems, sorted by place; a great many keep the order in which they were found.
        notes: Further oddities, which may be the cause.
    """

    def __init__(self, problems: list[Problem], notes: Sequence[str] = ()) -> None:
        self.problems, self.notes = problems, list(notes)
        super().__init__("\n  ".join([_message(problems), *(f"note: {note}" for note in notes)]))


@dataclass
class Problems:
    """A list of problems that readers and checks add to.

    Attributes:
        found: The problems so far.
    """

    found: list[Problem] = field(default_factory=list)

    def add(self, kind: str, place: object, text: str, remedy: str) -> None:
        """Add one problem; the fields are those of `Problem`."""
        self.found.append(Problem(kind, str(place), text, remedy))

    def raise_if_any(self, notes: Sequence[str] = ()) -> None:
        """Raise all problems as one error.

        Args:
            notes: Further oddities.

        Raises:
            DataError: There is a problem.
        """
        if self.found:
            in_order = len(self.found) <= _SORTED
            by_place = sorted(self.found, key=lambda problem: _natural(problem.place)) if in_order else self.found
            raise DataError(by_place, notes)


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts line 9 before line 10."""
    numbers = ((part, part.isdecimal() and len(part) < _DIGITS) for part in re.split(r"(\d+)", text))
    return [(int(part), "") if is_number else (-1, part) for part, is_number in numbers]


def _message(problems: list[Problem]) -> str:
    """One problem per line; of each kind only the first `SHOWN`."""
    if len(problems) == 1:
        return str(problems[0])
    lines, seen = [], Counter[str]()
    for problem in problems:
        seen[problem.kind] += 1
        if seen[problem.kind] <= SHOWN:
            lines.append(str(problem))
    more = [f"… and {count - SHOWN} more of the kind: {kind}" for kind, count in seen.items() if count > SHOWN]
    return "\n  ".join([f"the data has {len(problems)} problems:", *lines, *more])
