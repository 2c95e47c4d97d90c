"""Images as a user's own files list them, and the way from there to `LabelledImages`."""

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sct_hf.data.base import LabelledImages
from sct_hf.data.problems import Problems
from sct_hf.data.rows import Row, labelled_images
from sct_hf.data.text_files import read_lines
from sct_hf.errors import InputError

_SPACES = re.compile(r"[\s_-]+")
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d]) (?=[^\W\d])")


@dataclass(frozen=True)
class Record:
    """One listed image.

    Attributes:
        place: The file, and the line or entry in it.
        image: The image's name as written there, its id in the data set.
        path: Its file.
        labels: Names of the labels it shows.
        unknown: Names of the labels nobody judged.
    """

    place: str
    image: str
    path: Path
    labels: list[str]
    unknown: list[str] = field(default_factory=list)


@dataclass
class Listing:
    """One split as its files list it.

    Attributes:
        source: The file or folder that lists it.
        records: The images.
        label_names: All labels in order, where the files declare them.
        notes: What the reader left out on purpose, or what the user should know.
    """

    source: str
    records: list[Record] = field(default_factory=list)
    label_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)

    def found_names(self) -> list[str]:
        """The declared labels, or those found, sorted."""
        if self.label_names is not None:
            return self.label_names
        return sorted({label for record in self.records for label in (*record.labels, *record.unknown)})


@dataclass(frozen=True)
class FileReader:
    """A reader of a user's own files, made of the function that lists one split.

    Called with a split and options it returns `LabelledImages`. The options are those of the function, `label_names`
    (all labels in order; by default those that the files declare, or those found, sorted) and `skip_missing_images`
    (leave out images whose file is missing or broken instead of raising). Everything that is wrong with the files
    is raised at once, as `DataError`.

    Args:
        name: Name of the data set.
        lister: Function of (split, problems, *, …options) that returns a `Listing`. It adds what it cannot read to
            `problems` and goes on; it raises InputError only for options.
    """

    name: str
    lister: Callable[..., Listing]

    @property
    def __signature__(self) -> inspect.Signature:
        own = [value for name, value in inspect.signature(self.lister).parameters.items() if name != "problems"]
        taken = {parameter.name for parameter in own}
        both = {"label_names": None, "skip_missing_images": False}
        kind = inspect.Parameter.KEYWORD_ONLY
        further = [inspect.Parameter(name, kind, default=value) for name, value in both.items() if name not in taken]
        return inspect.Signature([*own, *further])

    def list_split(self, split: str, problems: Problems, **options: Any) -> Listing:
        """List a split; options that only `__call__` takes are let pass."""
        accepted = inspect.signature(self.lister).parameters
        return self.lister(split, problems, **{key: value for key, value in options.items() if key in accepted})

    def __call__(
        self,
        split: str,
        *,
        label_names: Sequence[str] | None = None,
        skip_missing_images: bool = False,
        **options: Any,
    ) -> LabelledImages:
        """Read a split; see the class.

        Raises:
            DataError: What is wrong with the files.
            InputError: Wrong options, no image, missing or broken images.
        """
        problems = Problems()
        listing = self.list_split(split, problems, label_names=label_names, **options)
        names = list(label_names) if label_names is not None else listing.found_names()
        check_names(listing, names, problems)
        problems.raise_if_any()
        if not listing.records:
            raise InputError(f"split {split!r} of data set {self.name!r} is empty: there is no image in it")
        column_of = {label: column for column, label in enumerate(names)}
        rows = [
            Row(
                record.image,
                record.path,
                [column_of[label] for label in record.labels],
                [column_of[label] for label in record.unknown],
            )
            for record in listing.records
        ]
        return labelled_images(rows, names, name=self.name, split=split, skip_missing_images=skip_missing_images)


def check_names(listing: Listing, names: Sequence[str], problems: Problems) -> None:
    """Add a problem for each label of a record that is not in `names`, with the nearest ones that are."""
    known = set(names)
    spelling_of = {plain_name(name): name for name in names}
    for record in listing.records:
        for label in dict.fromkeys((*record.labels, *record.unknown)):
            if label in known:
                continue
            same = spelling_of.get(plain_name(label))
            near = [same] if same else difflib.get_close_matches(label, names, n=1)
            meant = f"write {near[0]!r}" if near else f"write one of {', '.join(list(names)[:10])}"
            text = f"label {label!r} is not one of the {len(names)} labels given"
            problems.add("unknown label", record.place, text, f"{meant}, or add it to the labels")


def plain_name(label: str) -> str:
    """A label without what only its spelling makes different: case, and spaces, hyphens and underscores in words."""
    return _BETWEEN_LETTERS.sub("", " ".join(_SPACES.sub(" ", label.casefold()).split()))


def read_label_names(file: str | Path) -> dict[str, str]:
    """Read a text file with one label a line; empty lines count for nothing.

    Returns:
        The labels in order, each with its file and line.

    Raises:
        DataError: No such file, a label twice, or fewer than two labels.
    """
    file, problems = Path(file), Problems()
    line_of: dict[str, int] = {}
    for number, line in enumerate(read_lines(file, problems), start=1):
        label = line.strip()
        if not label:
            continue
        if label in line_of:
            text = f"label {label!r} stands on line {line_of[label]} already"
            problems.add("label given twice", f"{file}, line {number}", text, "take one of them out")
        line_of.setdefault(label, number)
    if not problems.found and len(line_of) < 2:
        problems.add("too few labels", file, f"{len(line_of)} labels", "give at least two, one a line")
    problems.raise_if_any()
    return {label: f"{file}, line {number}" for label, number in line_of.items()}
