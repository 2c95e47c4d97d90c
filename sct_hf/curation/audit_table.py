"""The table of suspects with a column for decisions: written by an audit, read back when labels are corrected."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sct_hf.data.names import shown
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_lines
from sct_hf.escaping import csv_cell, from_csv_cell
from sct_hf.files import atomic_write

COLUMNS = ("rank", "image", "label", "given", "suggested", "score", "kind", "cleanlab", "decision")
VALUES = {"present": True, "absent": False}
"""The words for a label's value in `given` and `suggested`."""

APPLY, KEEP, UNSURE = ("yes", "apply"), ("no", "keep"), ("unsure",)
_WORDS = {word: words[0] for words in (APPLY, KEEP, UNSURE) for word in words} | {"": ""}
_NEEDED = ("image", "label", "suggested", "decision")


@dataclass(frozen=True)
class Row:
    """One suspect of the table.

    Attributes:
        image, label: The image's name in the data set, and the label's.
        given: Whether the label is given.
        score: Probability that this is wrong.
        kind: "missing", "wrong" or "twins".
        cleanlab: Its rank by cleanlab; 0 if not ranked.
    """

    image: str
    label: str
    given: bool
    score: float
    kind: str
    cleanlab: int = 0


@dataclass(frozen=True)
class Decision:
    """A decision to change a label: the line it is on, the image, the label, and whether the label is there."""

    line: int
    image: str
    label: str
    present: bool


@dataclass(frozen=True)
class Decisions:
    """What a table of suspects decides.

    Attributes:
        changes: The decisions to apply.
        kept, unsure, open: Numbers of rows decided otherwise, or not at all.
    """

    changes: list[Decision]
    kept: int
    unsure: int
    open: int

    @property
    def made(self) -> int:
        """Number of rows with a decision."""
        return len(self.changes) + self.kept + self.unsure


def write_audit(rows: Iterable[Row], path: Path) -> None:
    """Write the suspects, most suspect first, with an empty column `decision`; names run in no spreadsheet.

    Bytes of a file's name that are not UTF-8 are written as they are.
    """
    word = {value: name for name, value in VALUES.items()}
    with atomic_write(path) as temporary, temporary.open(
        "w", encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:  # fmt: skip
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for rank, row in enumerate(rows, start=1):
            values = (word[row.given], word[not row.given], f"{row.score:.4f}", row.kind, row.cleanlab or "", "")
            table.writerow([rank, csv_cell(row.image), csv_cell(row.label), *values])


def read_decisions(path: Path) -> Decisions:
    """Read a table of suspects in which someone has filled in `decision`, with commas, semicolons or tabs.

    Raises:
        DataError: The file cannot be read, or a row has an unknown word or contradicts another; all are named.
    """
    problems = Problems()
    lines = read_lines(path, problems, errors="surrogateescape")
    found: dict[tuple[str, str], Decision] = {}
    counts = dict.fromkeys(_WORDS.values(), 0)
    for number, cells in _rows(path, lines, problems):
        place = f"{path}, line {number}"
        image, label = from_csv_cell(cells["image"]), from_csv_cell(cells["label"])
        if any("\ud800" <= sign <= "\udfff" for sign in label):
            problems.add("encoding", place, f"label {shown(label)} is not UTF-8", "save the file as UTF-8")
            continue
        word = cells["decision"].strip().casefold()
        if word not in _WORDS:
            text = f"decision is {shown(cells['decision'])}"
            problems.add(
                "unknown decision", place, text, f"write {_choice(APPLY)}, {_choice(KEEP)}, unsure or nothing"
            )
            continue
        counts[_WORDS[word]] += 1
        if word not in APPLY:
            continue
        suggested = cells["suggested"].strip().casefold()
        if suggested not in VALUES:
            text = f"suggested is {shown(cells['suggested'])}"
            problems.add("unknown value", place, text, f"write {_choice(tuple(VALUES))}")
            continue
        decision = Decision(number, image, label, VALUES[suggested])
        before = found.setdefault((image, label), decision)
        if before.present != decision.present:
            text = f"line {before.line} says the opposite of label {label!r} of image {image!r}"
            problems.add("decisions contradict", place, text, "clear the decision of one of them")
    problems.raise_if_any()
    return Decisions(list(found.values()), counts[KEEP[0]], counts[UNSURE[0]], counts[""])


def _choice(words: Sequence[str]) -> str:
    return " or ".join(words)


def _rows(path: Path, lines: list[str], problems: Problems) -> Iterable[tuple[int, dict[str, str]]]:
    """The line number and the cells by column of each row; a row that cannot be read is a problem."""
    if not lines:
        if not problems.found:
            problems.add("empty file", path, "there is no header in it", "give audit.csv as sct-hf audit wrote it")
        return
    separator = max(",;\t", key=lines[0].count)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    header: list[str] = []
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problems.add(
                "not CSV", f"{path}, line {number}", f"the line cannot be parsed ({error})", "close each quote"
            )
            return
        if cells is None:
            return
        if not header:
            header = [name.strip().casefold() for name in cells]
            if missing := [name for name in _NEEDED if name not in header]:
                text = f"no column {', '.join(map(repr, missing))}"
                problems.add("no such column", f"{path}, line 1", text, "give audit.csv as sct-hf audit wrote it")
                return
        elif len(cells) != len(header):
            if any(cells):
                text = f"{len(cells)} cells, but the header has {len(header)}"
                problems.add("number of cells", f"{path}, line {number}", text, "quote cells with separators in them")
        else:
            yield number, dict(zip(header, cells, strict=True))
