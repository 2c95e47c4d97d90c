"""Images within other files: rows of Parquet files and data sets, members of tars."""

import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from lzma import LZMAError
from pathlib import Path
from typing import Any

from sct_hf.errors import InputError
from sct_hf.extras import install_line
from sct_hf.files import IMAGE_SUFFIXES
from sct_hf.inference.items import Item
from sct_hf.inference.lookup import Owners

_BLOCK = 512  # bytes of a tar's block
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # what gzip, bzip2, xz and zstd begin with
_ROWS = 64  # read at once
_USUAL = "image"
"""The column to take where several hold images: what `datasets` and its tools call it."""

_BYTES = ("binary", "large_binary", "binary_view")  # types of Arrow
_TEXTS = ("string", "large_string", "string_view")

Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Columns:
    """Columns that the user named: of the images, and of their names.

    Attributes:
        image: Of the images.
        name: Of their names.
        owners: Whose each of these names is, in all tables of a run.
    """

    image: str | None = None
    name: str | None = None
    owners: Owners = field(default_factory=Owners)

    def item(self, place: str, named: Any, wanted: Wanted) -> Item | None:
        """The item of a row, without its image yet; None if it is not wanted.

        `place` is the row's, such as `shard.parquet#17`, and `named` the cell of its name. A name that another row
        has is an error, since results could not tell the two apart.
        """
        name, error = place if named in (None, "") else str(named), None
        if isinstance(named, Exception):
            name, error = place, f"its name cannot be read: {named}"
        elif self.name is not None and name != place and not self.owners.claim(name, place):
            name, error = place, f"its name, {name!r} in {self.name!r}, is that of another row: give one that differs"
        return Item(name, None, error) if wanted(name) else None


def parquet_items(path: Path, columns: Columns, wanted: Wanted) -> Iterator[Item]:
    """Images of a Parquet file, row by row.

    The column of images holds encoded bytes, structs of `bytes` and `path` as `datasets` writes them, or paths. A path
    is looked up from the current folder, then from that of the Parquet file.

    Args:
        path: The file.
        columns: The columns; by default the only one that can hold images, or that called "image".
        wanted: Whether the image of this name is to be tagged.
    """
    arrow, parquet = imported("pyarrow"), imported("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path, pre_buffer=False)
        column = columns.image or _image_column(file)
        check_columns((column, columns.name), file.schema_arrow.names)
    except (OSError, ValueError, arrow.ArrowException) as error:
        if wanted(str(path)):
            yield Item(str(path), None, f"cannot be used: {error}")
        return
    with file:
        start = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            try:
                yield from _group_items(file, path, group, start, column, columns, wanted)
            except (OSError, ValueError, arrow.ArrowException) as error:
                name = f"{path}#{start}-{start + count - 1}"
                if wanted(name):
                    yield Item(name, None, f"these rows cannot be read: {error}")
            start += count


def _group_items(
    file: Any, path: Path, group: int, start: int, column: str, columns: Columns, wanted: Wanted
) -> Iterator[Item]:
    """Images of a row group. Their bytes are read only if one of them is wanted."""
    count = file.metadata.row_group(group).num_rows
    of_paths = str(file.schema_arrow.field(column).type) in _TEXTS
    named: list[Any] = [None] * count
    if columns.name or of_paths:
        named = _values(file.read_row_group(group, columns=[columns.name or column]).column(0))
    if of_paths and not columns.name:
        named = [str(_found(text, path.parent)) if text and isinstance(text, str) else text for text in named]
    asked = [columns.item(f"{path}#{start + row}", text, wanted) for row, text in enumerate(named)]
    if not any(asked):
        return
    rows = iter(asked)
    for batch in file.iter_batches(_ROWS, row_groups=[group], columns=[column], use_threads=False):
        for value in _values(batch.column(0)):
            if (item := next(rows)) is not None:
                yield item if item.error else item_of_value(item.name, value, path.parent)


def _values(column: Any) -> list[Any]:
    """The values of a column of Arrow; the error in place of one that is none, such as text that is not UTF-8."""
    try:
        values: list[Any] = column.to_pylist()
    except ValueError:
        values = [_value(cell) for cell in column]
    return values


def _value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except ValueError as error:
        return error


def item_of_value(name: str, value: Any, folder: Path) -> Item:
    """The item of a cell: bytes, a struct of `bytes` and `path`, or a path.

    Args:
        name: The image's name.
        value: The cell.
        folder: Where relative paths are looked up that are not below the current folder.
    """
    if isinstance(value, dict):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, Exception):
        return Item(name, None, f"the row cannot be read: {value}")
    if value is None or value == "":
        return Item(name, None, "the row has no image")
    if isinstance(value, str):
        return Item(name, _found(value, folder))
    return Item(name, value) if isinstance(value, bytes) else Item(name, None, f"a {type(value).__name__} is no image")


def _found(text: str, folder: Path) -> Path:
    given = Path(text)
    beside = folder / text
    try:
        return beside if not given.exists() and beside.exists() else given
    except (OSError, ValueError):  # a name that no file can have
        return given


def _image_column(file: Any) -> str:
    """The column of images of a Parquet file.

    Raises:
        ValueError: There is none, or several and none is called "image".
    """
    kinds = {field.name: str(field.type) for field in file.schema_arrow}
    found = [
        name for name, kind in kinds.items() if kind in _BYTES or (kind.startswith("struct<") and "bytes: " in kind)
    ]
    texts = [name for name, kind in kinds.items() if kind in _TEXTS]
    if not found and texts and file.metadata.num_rows:
        found = [name for name in texts if Path(_first_text(file, name)).suffix.lower() in IMAGE_SUFFIXES]
    return chosen_column(found, list(kinds))


def _first_text(file: Any, name: str) -> str:
    """The first text of a column, or "" if there is none."""
    for batch in file.iter_batches(_ROWS, columns=[name], use_threads=False):
        for value in _values(batch.column(0)):
            if value and isinstance(value, str):
                return value
    return ""


def chosen_column(found: list[str], names: list[str]) -> str:
    """The column to take of those that can hold images.

    Raises:
        ValueError: There is none, or several and none is called "image".
    """
    if not found:
        raise ValueError(f"it has no column of images or paths, but {', '.join(map(repr, names))}")
    if len(found) > 1 and _USUAL not in found:
        raise ValueError(f"it has several columns of images ({', '.join(map(repr, found))}): name one by image_column")
    return _USUAL if _USUAL in found else found[0]


def check_columns(wanted: Iterable[str | None], names: Sequence[str]) -> None:
    """Check that a table has the columns.

    Raises:
        ValueError: One is missing.
    """
    for name in wanted:
        if name is not None and name not in names:
            raise ValueError(f"it has no column {name!r}, but {', '.join(map(repr, names))}")


def tar_items(path: Path, wanted: Wanted) -> Iterator[Item]:
    """Images of a tar, such as a shard of WebDataset, read from front to back.

    Members are images by their endings; others, such as `.json` and `.txt`, are passed over.

    Args:
        path: The file, which may be compressed.
        wanted: Whether the image of this name is to be tagged.
    """
    count, problem = 0, ""
    try:
        with tarfile.open(path, "r|*") as members:
            for member in members:
                file = Path(member.name)
                is_link = member.issym() or member.islnk()
                if file.suffix.lower() not in IMAGE_SUFFIXES or file.name.startswith("."):
                    continue
                if not (member.isfile() or is_link):
                    continue
                count += 1
                name = f"{path}/{member.name.removeprefix('./')}"
                if is_link:
                    error = f"it is a link to {member.linkname!r}: pack the archive with copies instead of links"
                    yield from [Item(name, None, error)] * wanted(name)
                elif wanted(name) and (stream := members.extractfile(member)) is not None:
                    content = stream.read()
                    if len(content) < member.size:
                        raise tarfile.ReadError("unexpected end of data")
                    yield Item(name, content)
        problem = _open_end(path)
    except (tarfile.TarError, OSError, EOFError, zlib.error, LZMAError) as error:
        problem = f"cannot be read after {count} images ({error})"
    if (problem or not count) and wanted(str(path)):
        yield Item(str(path), None, problem or "holds no file that ends like an image")


def _open_end(path: Path) -> str:
    """What is wrong with the end of an uncompressed tar: blocks of zeros close it, unless it was cut off."""
    with open(path, "rb") as file:
        if file.read(6).startswith(_COMPRESSED):
            return ""
        file.seek(-_BLOCK, 2)
        return "has no end: it was cut off" if any(file.read(_BLOCK)) else ""


def is_dataset(folder: Path) -> bool:
    """Whether `datasets` saved a data set, or one of several splits, to this folder."""
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / name).is_file() for name in ("dataset_info.json", "state.json")
    )


def dataset_items(folder: Path, columns: Columns, wanted: Wanted) -> Iterator[Item]:
    """Images of a folder of `datasets`, all splits of it.

    Args:
        folder: What `save_to_disk` wrote.
        columns: The columns; by default the only one of images, or that called "image".
        wanted: Whether the image of this name is to be tagged: `folder#17`, or `folder[test]#17` of a split.
    """
    datasets = imported("datasets")
    try:
        loaded = datasets.load_from_disk(str(folder))
        splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}
        cells = {split: _cells(datasets, table, columns) for split, table in splits.items()}
    except Exception as error:  # damaged files make datasets raise almost anything
        if wanted(str(folder)):
            yield Item(str(folder), None, f"cannot be used: {error}")
        return
    for split, (images, names) in cells.items():
        place = f"{folder}[{split}]" if split else str(folder)
        for row in range(len(images)):
            named = None if names is None else _cell(names, row)
            if (item := columns.item(f"{place}#{row}", named, wanted)) is not None:
                yield item if item.error else item_of_value(item.name, _cell(images, row), folder)


def _cell(column: Any, row: int) -> Any:
    """A cell of a data set, or the error that reading it gives."""
    try:
        return column[row]
    except Exception as error:  # damaged files make datasets raise almost anything
        return error


def _cells(datasets: Any, table: Any, columns: Columns) -> tuple[Any, Any]:
    """The column of encoded images of a data set, and that of their names, if any.

    Raises:
        ValueError: There is no such column.
    """
    chosen, kept = table_columns(datasets, table, columns)
    return kept[chosen], None if columns.name is None else kept[columns.name]


def table_columns(datasets: Any, table: Any, columns: Columns) -> tuple[str, Any]:
    """The name of the column of images of a `Dataset` or `IterableDataset`, and the table with what is read of it.

    Raises:
        ValueError: There is no such column.
    """
    found = [name for name, kind in table.features.items() if isinstance(kind, datasets.Image)]
    chosen = columns.image or chosen_column(found, list(table.features))
    check_columns((chosen, columns.name), list(table.features))
    kept = table.select_columns(list(dict.fromkeys(filter(None, (chosen, columns.name)))))
    if isinstance(table.features[chosen], datasets.Image):
        kept = kept.cast_column(chosen, datasets.Image(decode=False))
    return chosen, kept


def imported(module: str) -> Any:
    """A module that reads images.

    Raises:
        InputError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            f"images: {module} is needed to read them, and not installed: {install_line(module)}"
        ) from error
