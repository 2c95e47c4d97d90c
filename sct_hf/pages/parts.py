"""What a page shows: figures, tables, pictures and cards. The macros of `templates/parts.html` draw them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Mark = Literal["right", "wrong", "missed", "plain"]
_NUMBERS = ("count", "number", "percent", "difference")
_FILTERED = 8  # rows or cards from which typing filters
_LONGEST = 200  # characters of a name


def shortened(name: str) -> str:
    """A name without its middle if it is longer than 200 characters, so that a page's size stays bounded."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[1 - _LONGEST // 2 :]}"


class Figure(NamedTuple):
    """A headline figure.

    Attributes:
        name: What it is.
        value: Its text, such as "93.1 %".
        note: A few words below it.
    """

    name: str
    value: str
    note: str = ""


class Picture(NamedTuple):
    """An image.

    Attributes:
        uri: From `data_uri`.
        caption: Text below it, and its name for readers of screens.
    """

    uri: str
    caption: str = ""


class Tag(NamedTuple):
    """A label of an image.

    Attributes:
        name: The label.
        text: What stands after it, such as its score.
        mark: Its colour: "right", "wrong" (given, but not there), "missed" (there, but not given), or "plain".
    """

    name: str
    text: str = ""
    mark: Mark = "plain"


@dataclass(frozen=True)
class Card:
    """An image, or a few that belong together, with its tags.

    Attributes:
        title: Heading, such as the image's name.
        pictures: Images side by side.
        tags: Labels below them.
        notes: Lines of text below these.
    """

    title: str
    pictures: Sequence[Picture] = ()
    tags: Sequence[Tag] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Column:
    """A column of a `Table`.

    Attributes:
        title: Its heading.
        form: What its cells are: "text"; "count" (whole number); "number"; "percent" (a fraction, drawn as a
            percentage with a bar); "difference" (of fractions, drawn in percentage points with its sign); "picture"
            (a `Picture`, or a list of them).
        digits: Digits after the point of "number", "percent" and "difference".
        help: What the heading means, shown below a pointer.
    """

    title: str
    form: Literal["text", "count", "number", "percent", "difference", "picture"] = "text"
    digits: int = 1
    help: str = ""

    @property
    def numeric(self) -> bool:
        """Whether cells are numbers, which sort from the largest at first."""
        return self.form in _NUMBERS

    def missing(self, value: Any) -> bool:
        """Whether a cell is empty: None or NaN. Empty cells are last in any order."""
        return value is None or (self.numeric and not math.isfinite(value))

    def text(self, value: Any) -> str:
        """The text of a cell."""
        if self.missing(value):
            return "–"
        match self.form:
            case "count":
                return f"{int(value):,}"
            case "number":
                return f"{value:.{self.digits}f}"
            case "percent":
                return f"{100 * value:.{self.digits}f}"
            case "difference":
                points = round(100 * value, self.digits)
                return f"{points:+.{self.digits}f}".replace("-", "−") if points else f"{0:.{self.digits}f}"
        return shortened(str(value))


@dataclass(frozen=True)
class Table:
    """A table that sorts and filters.

    Attributes:
        columns: Its columns; the first one heads each row.
        rows: Cells of each row, in the order of the columns. None is an empty cell.
        caption: A line above the table.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]] = field(default_factory=list)
    caption: str = ""

    @property
    def filtered(self) -> bool:
        """Whether there are enough rows that a field to filter them helps."""
        return len(self.rows) >= _FILTERED
