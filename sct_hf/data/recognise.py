"""Recognise the format of a file or folder of labelled images."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sct_hf.data.problems import Problems
from sct_hf.data.registry import READERS, list_data
from sct_hf.errors import InputError

_EVALUATION = ("test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation")


@dataclass(frozen=True)
class Place:
    """A place of labelled images, with its reader.

    Attributes:
        dataset: Name of the reader.
        options: Command-line options for the place, such as `data_dir` and `train_file`.
        evaluation: Options of the split to score, such as `eval_split`; empty if there is none.
    """

    dataset: str
    options: dict[str, str]
    evaluation: dict[str, str] = field(default_factory=dict)


def recognise(source: Path, labels: Path | None = None) -> Place:
    """Find the reader of a file or folder, by the signs registered with each reader.

    Args:
        source: A folder of images, or a file that lists them.
        labels: A file of labels for the images below `source`.

    Raises:
        InputError: The place does not exist, or no reader or several recognise it; the message names them.
    """
    for path in (source, labels):
        if path is not None and not path.exists():
            raise InputError(f"{str(path)!r}: there is no such file or folder; correct the path")
    if labels is not None and not source.is_dir():
        raise InputError(f"labels is {str(labels)!r}, but {str(source)!r} is no folder: give the folder of the images")
    if labels is not None and labels.is_dir():
        raise InputError(
            f"labels is {str(labels)!r}, a folder: give a table, or the folder with images and labels without --labels"
        )
    place = labels or source
    found = {name: options for name, options in _signs(place)}
    if len(found) > 1:
        names = " and ".join(found)
        raise InputError(f"{str(place)!r} may be {names}: say which, by --dataset with the options that it needs")
    if not found:
        raise InputError(
            f"{str(place)!r} has no known format: give a table with --labels, one line per image with the columns "
            f"image and labels, or name the format by --dataset. Looked for:\n{_layouts()}"
        )
    ((name, options),) = found.items()
    options = {option: str(value) for option, value in options.items()}
    if labels is not None:
        return Place(name, options | {"data_dir": str(source)})
    evaluation = {option: value for option, value in options.items() if option.startswith("eval_")}
    training = {option: value for option, value in options.items() if option not in evaluation}
    return place_of(training.pop("dataset", name), training, evaluation)


def place_of(dataset: str, options: dict[str, str], evaluation: dict[str, str] | None = None) -> Place:
    """Labelled images whose reader is known, with the split to score where the place has one."""
    return Place(dataset, options, evaluation or _split_to_score(dataset, options))


def _layouts() -> str:
    """What is looked for: a line for each layout, after the names of its readers."""
    of_layout: dict[str, list[str]] = {}
    for name, reader in READERS.items():
        if reader.sign is not None and reader.layout:
            of_layout.setdefault(reader.layout, []).append(name)
    return "\n".join(f"  {', '.join(names)}: {layout}" for layout, names in of_layout.items())


def _signs(place: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, reader in READERS.items():
        options = reader.sign(place) if reader.sign else None
        if options is not None:
            yield name, options


def _split_to_score(dataset: str, options: dict[str, str]) -> dict[str, str]:
    """The first usual split of the place other than "train"."""
    if "train_file" in options:
        return {}
    where = {"data_dir": options["data_dir"]} if "data_dir" in options else {}
    for split in _EVALUATION:
        problems = Problems()
        try:
            listing = list_data(dataset, split, problems, **where)
        except InputError:
            continue
        if listing.records and not problems.found:
            return {"eval_split": split}
    return {}
