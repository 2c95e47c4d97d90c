"""Data sets by name: requests to readers, and their registration."""

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sct_hf.data.boxes import BoxedImage
from sct_hf.data.cells import AUTO
from sct_hf.data.listing import Listing
from sct_hf.data.problems import Problems
from sct_hf.errors import InputError

ANY_PLACE = "owner/name"
"""Name of the reader for folders and for names with a slash."""


@dataclass(frozen=True)
class Request:
    """A request to a reader.

    Attributes:
        dataset: Name of the data set, as given.
        split: Name of the split.
        files: The file or files of the split.
        data_dir: Folder of the data.
        image_column: Column of the images.
        label_column: Column of the labels.
        label_names: All labels, in order.
        separator: Separator between labels in a cell, see `sct_hf.data.cells.SEPARATORS`.
        size: Number of images to render.
        seed: Seed of rendered images.
        config: Configuration of a data set on the Hub.
        revision: Branch, tag or commit of a data set on the Hub.
        cache_dir: Folder of downloaded or rendered data, for every reader.
    """

    dataset: str
    split: str
    files: tuple[Path, ...] | None = None
    data_dir: Path | None = None
    image_column: str | None = None
    label_column: str | None = None
    label_names: tuple[str, ...] | None = None
    separator: str | None = None
    size: int | None = None
    seed: int | None = None
    config: str | None = None
    revision: str | None = None
    cache_dir: Path | None = None

    @property
    def parting(self) -> str:
        """The separator, or `AUTO`."""
        return self.separator or AUTO


Lister = Callable[[Request, Problems], Listing]
Sign = Callable[[Path], dict[str, Any] | None]
Boxer = Callable[[Request, Problems], dict[str, BoxedImage]]
Streamer = Callable[[Request, Problems], Any]


@dataclass(frozen=True)
class Reader:
    """A format of data.

    Attributes:
        name: Name of the data set or format.
        title: Its name in model cards; empty for the name that the user gave.
        lister: Function that lists the split of a request without opening an image. It adds errors to the problems and
            continues; it raises InputError only for options, and SplitError if there is no such split.
        takes: Fields of `Request` that it accepts; other given fields are an error.
        needs: Fields that are required.
        published: The data are published and will not be changed. Images without a label, equal images and labels
            without images are notes; in a user's own files they are errors.
        sign: Tells whether a file or folder is in this format: the options of training that name it, or None.
        layout: What `sign` looks for, in a few words; shown where no format is recognised.
        boxer: Function that reads the boxes of the split of a request, by image id; None if the format has none.
        streamer: Function that opens the split of a request for training without listing its images, as
            `sct_hf.data.shards.images.StreamedImages`; None if training lists them.
    """

    name: str
    title: str
    lister: Lister
    takes: frozenset[str]
    needs: frozenset[str]
    published: bool
    sign: Sign | None
    layout: str
    boxer: Boxer | None
    streamer: Streamer | None


READERS: dict[str, Reader] = {}
"""Readers by name of the data set; `register_reader` adds to it."""

_ALWAYS = {"dataset", "split", "cache_dir"}
_OPTIONS = {field.name for field in fields(Request)} - _ALWAYS


def register_reader(
    name: str,
    *,
    title: str,
    takes: Sequence[str] = (),
    needs: Sequence[str] = (),
    published: bool = False,
    sign: Sign | None = None,
    layout: str = "",
    boxer: Boxer | None = None,
    streamer: Streamer | None = None,
) -> Callable[[Lister], Lister]:
    """Register a function as the reader of a format, under its name in `--dataset`.

    ```python
    @register_reader("toy", title="Own images (toy)", needs=["data_dir"])
    def list_toy(request: Request, problems: Problems) -> Listing: ...
    ```

    Args:
        name: Its name.
        title: Its name in model cards; see `Reader`, as for the arguments below.
        takes: Options that it accepts, besides those in `needs`.
        needs: Options that it requires.
        published: Whether the data are published.
        sign: How a file or folder of this format is recognised; None if it is only read by name.
        layout: What `sign` looks for, in a few words.
        boxer: How its boxes are read; None if it has none.
        streamer: How training streams it; None if training lists its images.

    Raises:
        ValueError: Another reader has this name, or an option is not a field of `Request`.
    """
    unknown = sorted({*takes, *needs} - _OPTIONS)
    if unknown or name in READERS:
        found = f"it takes {', '.join(unknown)}, no options of Request" if unknown else "another reader has this name"
        raise ValueError(f"reader {name!r}: {found}")

    def register(lister: Lister) -> Lister:
        options = frozenset({*takes, *needs})
        required = frozenset(needs)
        READERS[name] = Reader(name, title, lister, options, required, published, sign, layout, boxer, streamer)
        return lister

    return register


def find_reader(dataset: str) -> Reader:
    """Return the reader of a data set.

    Raises:
        InputError: There is none; the message has the nearest name.
    """
    if dataset in READERS:
        return READERS[dataset]
    if "/" in dataset or os.path.isdir(dataset):
        return READERS[ANY_PLACE]
    near = difflib.get_close_matches(dataset, READERS, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    names = ", ".join(name for name in READERS if name != ANY_PLACE)
    raise InputError(
        f"dataset is {dataset!r}: give one of {names}, a name on the Hub such as {ANY_PLACE}, or a folder{hint}"
    )


def dataset_title(dataset: str) -> str:
    """The name of a data set in model cards: the title of its reader, or its own name."""
    reader = READERS.get(dataset)
    return reader.title if reader and reader.title else dataset


def list_data(dataset: str, split: str, problems: Problems, **options: Any) -> Listing:
    """List one split of a data set; no image is opened.

    Args:
        dataset: A name of `READERS`, a name on the Hub, or a folder.
        split: Name of the split.
        problems: Collects the errors of the data.
        **options: Further fields of `Request`; None means not given. `files` is one or several paths, and `data_dir`
            and `cache_dir` may be strings.

    Raises:
        InputError: The data set does not exist, or an option is missing or not accepted by its reader.
    """
    reader = find_reader(dataset)
    return reader.lister(_request(reader, dataset, split, options), problems)


def list_boxes(dataset: str, split: str, problems: Problems, **options: Any) -> dict[str, BoxedImage]:
    """Read the boxes of one split of a data set, by image id; an image without an object may be absent.

    Args:
        dataset: A name of `READERS`, a name on the Hub, or a folder.
        split: Name of the split.
        problems: Collects the errors of the data.
        **options: As in `list_data`.

    Raises:
        InputError: The data set has no boxes or does not exist, or an option is missing or not accepted.
    """
    reader = find_reader(dataset)
    if reader.boxer is None:
        having = ", ".join(name for name, each in READERS.items() if each.boxer is not None)
        raise InputError(f"dataset is {dataset!r}, which has no boxes: give one of {having}")
    return reader.boxer(_request(reader, dataset, split, options), problems)


def open_stream(dataset: str, split: str, problems: Problems, **options: Any) -> Any:
    """Open one split of a data set for training, if its format is streamed.

    Args:
        dataset: A name of `READERS`, a name on the Hub, or a folder.
        split: Name of the split.
        problems: Collects the errors of the data.
        **options: As in `list_data`.

    Returns:
        `sct_hf.data.shards.images.StreamedImages`, or None for a format whose images are listed.

    Raises:
        InputError: The data set does not exist, or an option is missing or not accepted.
    """
    reader = find_reader(dataset)
    return reader.streamer and reader.streamer(_request(reader, dataset, split, options), problems)


def _request(reader: Reader, dataset: str, split: str, options: dict[str, Any]) -> Request:
    """The request that options make, once they are found to be those of the reader."""
    given = {field: value for field, value in options.items() if value is not None}
    for field, value in given.items():
        if field not in reader.takes | _ALWAYS:
            option, value = ("labels_file", "given") if field == "label_names" else (field, repr(value))
            raise InputError(f"{option} is {value}, but data set {dataset!r} takes no {option}: leave it out")
    for field in sorted(reader.needs):
        if field not in given:
            raise InputError(f"{field} is not given, but data set {dataset!r} needs it: give it")
    for field in ("data_dir", "cache_dir"):
        if field in given:
            given[field] = Path(given[field])
    if "data_dir" in given and os.path.isfile(given["data_dir"]):
        text = f"data_dir is {str(given['data_dir'])!r}, which is a file: give a folder"
        archive = given["data_dir"].suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
        raise InputError(f"{text}, unpacked from the archive" if archive else text)
    if "files" in given:
        files = given["files"]
        given["files"] = tuple(Path(file) for file in ([files] if isinstance(files, str | Path) else files))
    if "label_names" in given:
        given["label_names"] = tuple(given["label_names"])
    return Request(dataset, split, **given)
