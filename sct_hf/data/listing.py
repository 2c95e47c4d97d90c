"""The images of a data set as listed, before any is opened."""

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sct_hf.data.image_sources import ImageSource
from sct_hf.data.names import MOST_LABELS, UnusableError, clean_name, plain_name, shown
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_lines
from sct_hf.name_lists import some

_COMPARED = 2000  # names with which a misspelt one is compared
_MISSPELT = 50  # names that are compared


@dataclass(frozen=True)
class Record:
    """One listed image.

    Attributes:
        place: The file, and the line or entry in it.
        image: The image's name as written there, its id in the data set.
        path: Its file; None for one of the listing's `images`.
        labels: Names of the labels it shows.
        unknown: Names of its unknown labels.
        difficult: Names of labels with only difficult objects: absent or unknown, as the user chooses.
    """

    place: str
    image: str
    path: Path | None
    labels: list[str]
    unknown: list[str] = field(default_factory=list)
    difficult: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """The result of opening an image.

    Attributes:
        fault: "missing", or "broken: …" with the decoder's error; None for an image that training can read.
        fingerprint: See `sct_hf.data.fingerprint`; empty for an image that is missing or remote (a URL).
    """

    fault: str | None = None
    fingerprint: bytes = b""


@dataclass
class Listing:
    """One split as its reader lists it.

    Attributes:
        source: The file, folder or data set that lists it.
        records: The images.
        label_names: All labels in order, if the source declares them.
        notes: What the reader left out on purpose, and other facts for the user.
        images: The undecoded images if they are not files, one for each record.
        is_sound: The reader made the images itself, so they need no check.
        one_image_by_content: Records with equal images are one image with all their labels.
        looks: The look of each record's image, after `sct_hf.data.looks.look_at`.
    """

    source: str
    records: list[Record] = field(default_factory=list)
    label_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    images: ImageSource | None = None
    is_sound: bool = False
    one_image_by_content: bool = False
    looks: list[Look] | None = None

    def found_names(self) -> list[str]:
        """The declared labels, or those found, sorted."""
        if self.label_names is not None:
            return self.label_names
        return sorted({label for record in self.records for label in names_of(record)})

    def file_of(self, index: int) -> str:
        """The file of a record's image, or "<no file>" for an image without one."""
        path: str | Path | None = self.records[index].path
        if self.images is not None:
            path = self.images[index]["path"]
        return str(path) if path else "<no file>"

    def declare(self, names: Iterable[str]) -> None:
        """Add labels to those that the source declares."""
        self.label_names = list(dict.fromkeys([*(self.label_names or []), *names]))


def names_of(record: Record) -> list[str]:
    """All labels that a record mentions, each once."""
    return list(dict.fromkeys((*record.labels, *record.unknown, *record.difficult)))


def usable_names(values: Iterable[Any], place: object, problems: Problems) -> list[str]:
    """The clean names among some values, each once; values that are not names become problems."""
    names: dict[str, None] = {}
    for value in values:
        try:
            names[clean_name(value)] = None
        except UnusableError as error:
            problems.add("wrong label", place, error.text, error.remedy)
    return list(names)


def declared_names(values: Iterable[Any], place: object, problems: Problems) -> list[str] | None:
    """The names that a source declares, in order; None and problems if one is not a name or repeats."""
    before = len(problems.found)
    names: dict[str, None] = {}
    for value in values:
        for name in usable_names([value], place, problems):
            if name in names:
                problems.add("label given twice", place, f"label {name!r} is declared twice", "take one of them out")
            names[name] = None
    return list(names) if len(problems.found) == before else None


def are_too_many(names: Collection[str], place: object, problems: Problems) -> bool:
    """Whether there are more than `MOST_LABELS` names; this adds a problem."""
    if len(names) > MOST_LABELS:
        text = f"there are {len(names)} labels, such as {some(list(map(shown, list(names)[:3])))}"
        problems.add("too many labels", place, text, f"give at most {MOST_LABELS}; are the labels separated rightly?")
    return len(names) > MOST_LABELS


def check_names(listing: Listing, names: Sequence[str], problems: Problems) -> None:
    """Add a problem for each label of a record that is not in `names`, with the nearest names."""
    known = set(names)
    spelling_of = {plain_name(name): name for name in names}
    meant_of: dict[str, str] = {}
    for record in listing.records:
        for label in names_of(record):
            if label in known:
                continue
            if label not in meant_of:
                same = spelling_of.get(plain_name(label))
                compared = list(names)[:_COMPARED] if len(meant_of) < _MISSPELT else []
                near = [same] if same else difflib.get_close_matches(label, compared, n=1)
                meant_of[label] = f"write {near[0]!r}" if near else f"write one of {', '.join(list(names)[:10])}"
            text = f"label {label!r} is not one of the {len(names)} labels given"
            problems.add("unknown label", record.place, text, f"{meant_of[label]}, or add it to the labels")


def read_names(file: str | Path) -> list[str]:
    """Read a text file with one name per line; empty lines are skipped.

    Raises:
        DataError: The file does not exist or is not text, or an entry is not a name.
    """
    problems = Problems()
    lines = {number: line for number, line in enumerate(read_lines(Path(file), problems), start=1) if line.strip()}
    if are_too_many(lines.values(), file, problems):
        lines = {}
    names = [name for number in lines for name in usable_names([lines[number]], f"{file}, line {number}", problems)]
    problems.raise_if_any()
    return names


def read_label_names(file: str | Path) -> dict[str, str]:
    """Read a text file with one label per line; empty lines are skipped.

    Returns:
        The labels in order, each with its file and line.

    Raises:
        DataError: The file does not exist, an entry is not a name, a label repeats, or there are fewer than two.
    """
    file, problems = Path(file), Problems()
    line_of: dict[str, int] = {}
    lines = {number: line for number, line in enumerate(read_lines(file, problems), start=1) if line.strip()}
    if are_too_many(lines.values(), file, problems):
        lines = {}
    for number, line in lines.items():
        for label in usable_names([line], f"{file}, line {number}", problems):
            if label in line_of:
                text = f"label {label!r} is already on line {line_of[label]}"
                problems.add("label given twice", f"{file}, line {number}", text, "take one of them out")
            line_of.setdefault(label, number)
    if not problems.found and len(line_of) < 2:
        problems.add("too few labels", file, f"{len(line_of)} labels", "give at least two, one per line")
    problems.raise_if_any()
    return {label: f"{file}, line {number}" for label, number in line_of.items()}
