"""From what a user names to the images to tag: files, folders, patterns, lists, files of many images, the Hub."""

import codecs
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sct_hf.errors import InputError
from sct_hf.files import IMAGE_SUFFIXES
from sct_hf.inference.containers import Columns, dataset_items, is_dataset, parquet_items, tar_items
from sct_hf.inference.hub_rows import HubRows
from sct_hf.inference.items import Item
from sct_hf.inference.walking import files_below, matches

Place = Path | HubRows | Item
"""An image file, a file or data set of many images, or an item with an error for what cannot be read."""

_TARS = (".tar", ".tar.gz", ".tgz")
_LIST = "@"


@dataclass(frozen=True)
class Sources:
    """The images of files, folders, patterns, lists, and of Parquet files, tars and data sets.

    Images come as they are needed, so memory does not grow with their number. What cannot be read becomes an item with
    an error. An input that matches nothing is an item too, so that opening it reports the error.

    Args:
        inputs: What the user named. `@FILE` is a text file with a path a line; `hf://datasets/OWNER/NAME` is a data
            set on the Hub, see `HubRows`.
        image_column: Column of the images, where a file has several.
        id_column: Column of the images' names; by default an image is called `shard.parquet#17`, by its row from 0.
        without: A folder that is passed over: that of the output.

    Attributes:
        passed_over: The first file of many images in each folder that has images too, and so gives those alone.
        no_images: How many files each pattern matches that do not end like images, and are passed over.

    Raises:
        InputError: No input matches anything, or an address on the Hub has another form.
    """

    inputs: Sequence[str | Path]
    image_column: str | None = None
    id_column: str | None = None
    without: Path | None = None
    passed_over: dict[str, str] = field(default_factory=dict, init=False, compare=False)
    no_images: dict[str, int] = field(default_factory=dict, init=False, compare=False)

    def __post_init__(self) -> None:
        empty: list[str] = []
        for text in map(str, self.inputs):
            if HubRows.is_address(text):
                HubRows.of(text)  # refuses another form
        for given in self.inputs:
            if any(True for _ in self._files(given)):
                return
            folder, kind = Path(given).is_dir(), "image" if str(given) in self.no_images else "file"
            empty.append(f"{str(given)!r} " + ("is a folder without images" if folder else f"matches no {kind}"))
        raise InputError(f"images: {', '.join(empty)}; give files, folders or globs of images")

    def items(self, wanted: Callable[[str], bool]) -> Iterator[Item]:
        """The images.

        Args:
            wanted: Whether the image of this name is to be tagged. It is asked once for each, before bytes are read.
        """
        for place in self.places():
            yield from self.of(place, wanted)

    def places(self) -> Iterator[Place]:
        """Image files, and files and data sets of many images; an item with an error for what cannot be read."""
        for given in self.inputs:
            found = False
            for place in self._files(given):
                found = True
                yield place
            if not found:
                is_pattern = str(given) in self.no_images
                yield Item(str(given), None, "it matches no image") if is_pattern else Path(given)

    @staticmethod
    def has_many(place: Path) -> bool:
        """Whether a place is a file or data set of many images."""
        return _is_container(place.name) or is_dataset(place)

    def files(self) -> list[Path]:
        """All images, each once, where each has a file.

        Raises:
            InputError: One is in another file.
        """
        found: dict[Path, None] = {}
        for item in self.items(lambda name: True):
            if item.image is None and item.error is not None:
                continue
            if not isinstance(item.image, Path):
                raise InputError(
                    f"images: {item.name!r} is no image file, but heatmaps and masks are drawn of files alone; leave "
                    "them out, or give image files"
                )
            found[item.image] = None
        return list(found)

    @cached_property
    def _columns(self) -> Columns:
        return Columns(self.image_column, self.id_column)

    def _files(self, given: str | Path) -> Iterator[Place]:
        """Files and data sets of one input."""
        text, path = str(given), Path(given)
        if HubRows.is_address(text):
            yield HubRows.of(text)
        elif path.is_dir():
            yield from self._below(path)
        elif os.path.lexists(path):
            yield path
        elif text.startswith(_LIST):
            for place in _listed(Path(text.removeprefix(_LIST))):
                yield from self._below(place) if isinstance(place, Path) and place.is_dir() else [place]
        else:
            yield from self._matching(text)

    def _matching(self, pattern: str) -> Iterator[Path | Item]:
        """Files that a pattern matches, if they end like images or files of many, and those of its folders."""
        others = 0
        for hit in matches(pattern):
            if hit.is_dir():
                yield from self._below(hit)
            elif _is_image(hit.name) or _is_container(hit.name):
                yield hit
            else:
                others += 1
        if others:
            self.no_images[pattern] = others

    def _below(self, folder: Path) -> Iterator[Path | Item]:
        """Images of a folder; if it has none, its Parquet files and tars."""
        if is_dataset(folder):
            yield folder
            return
        skipped: list[str] = []

        def is_image(name: str) -> bool:
            if not skipped and _is_container(name) and not name.startswith("."):
                skipped.append(name)
            return _is_image(name)

        for is_kept in (is_image, _is_container):
            files = files_below(folder, is_kept, self.without)
            refused: list[Item] = []
            for file in files:  # the first file decides
                if isinstance(file, Path):
                    yield from refused
                    yield file
                    yield from files
                    self.passed_over.update((str(folder), name) for name in skipped)
                    return
                refused.append(file)
        yield from refused

    def of(self, file: Place, wanted: Callable[[str], bool]) -> Iterator[Item]:
        """Images of one place, as `items` gives them."""
        if isinstance(file, Item):
            if wanted(file.name):
                yield file
        elif isinstance(file, HubRows):
            yield from file.items(self._columns, wanted)
        elif is_dataset(file):
            yield from dataset_items(file, self._columns, wanted)
        elif file.name.lower().endswith(".parquet"):
            yield from parquet_items(file, self._columns, wanted)
        elif file.name.lower().endswith(_TARS):
            yield from tar_items(file, wanted)
        elif wanted(str(file)):
            yield Item.of(file)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _is_container(name: str) -> bool:
    return name.lower().endswith((".parquet", *_TARS))


def _listed(file: Path) -> Iterator[Place]:
    """Paths of a text file, or addresses on the Hub: one a line; paths from the current folder or else the list's.

    Empty lines and lines that begin with # are passed over. Names may hold bytes that are not UTF-8.
    """
    try:
        with open(file, "rb") as binary:
            wide = binary.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        encoding, errors = ("utf-16", "strict") if wide else ("utf-8-sig", "surrogateescape")
        with open(file, encoding=encoding, errors=errors) as lines:
            for line in lines:
                text, stripped = line.rstrip("\n"), line.strip()
                if stripped and not text.startswith("#"):
                    yield _hub_place(stripped) if HubRows.is_address(stripped) else _place(text, file.parent)
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            return
        reason = error.strerror if isinstance(error, OSError) else "not text"
        yield Item(f"{_LIST}{file}", None, f"the list cannot be read ({reason})")


def _hub_place(address: str) -> Place:
    try:
        return HubRows.of(address)
    except InputError as error:
        return Item(address, None, str(error))


def _place(text: str, folder: Path) -> Path:
    """The file of a line: as it stands, without spaces around it, or below the list's folder."""
    for path in (Path(text), Path(text.strip()), folder / text, folder / text.strip()):
        try:
            if path.exists():
                return path
        except (OSError, ValueError):  # a name that no file can have
            continue
    return Path(text.strip())
