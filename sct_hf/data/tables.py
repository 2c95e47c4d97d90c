"""Lists of images and their labels in CSV or JSON Lines files."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from sct_hf.data.label_columns import label_lists
from sct_hf.data.lines import LINES, Line, find_column, image_path
from sct_hf.data.listing import Listing, Record
from sct_hf.data.marks import PARTS, is_marks, read_marks
from sct_hf.data.places import find_image
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.signs import one_file
from sct_hf.errors import InputError
from sct_hf.name_lists import some

IMAGE_COLUMNS = ("image", "file_name", "path", "filename", "image_path", "file")
LABEL_COLUMNS = ("labels", "label", "tags", "categories")
UNKNOWN_COLUMN = "unknown"

_TAKEN = ("files", "data_dir", "image_column", "label_column", "label_names", "separator")


def list_table(request: Request, problems: Problems, *, format: str) -> Listing:
    """List a table with one image per row: its path, and its labels as a list or in one separated cell.

    A further column `unknown`, written like the labels, has the unknown labels of the image. A CSV file without a
    column of labels, but with at least two columns besides the path, has one column per label (see
    `sct_hf.data.marks`). Cells of labels are described in `sct_hf.data.cells`.

    Args:
        request: `files` (UTF-8; CSV with a header), or `<data_dir>/<split>.<format>`. Relative paths start from
            `data_dir`, or from the folder of the file. The default columns are the first found of `IMAGE_COLUMNS` and
            of `LABEL_COLUMNS`. The default labels are those found, sorted, or the columns in order.
        problems: Collects the errors.
        format: "csv" or "jsonl".

    Raises:
        InputError: No file is given.
    """
    if request.files is None and request.data_dir is None:
        raise InputError(f"files is not given: name the {format} file of split {request.split!r}")
    paths = request.files or ((request.data_dir or Path()) / f"{request.split}.{format}",)
    listing = Listing(", ".join(map(str, paths)))
    for path in paths:
        part = read_records(path, format, request.data_dir or path.parent, request, problems)
        listing.records += part.records
        listing.notes += part.notes
        if part.label_names is not None:
            listing.declare(part.label_names)
    return listing


def _sign(place: Path, *, format: str) -> dict[str, Path] | None:
    """A table; a folder with `train.<format>`; one with a single table, or with one in each split, as Roboflow has."""
    if place.suffix.lower() == f".{format}" and place.is_file():
        return {"train_file": place}
    if (place / f"train.{format}").is_file():
        return {"data_dir": place}
    table = one_file(place, f"*.{format}")
    if table is not None and not table.name.startswith("metadata."):
        return {"train_file": table, "data_dir": place}
    if (train := one_file(place / "train", f"_*.{format}")) is None:
        return None
    scored = next((file for split in ("test", "valid") if (file := one_file(place / split, f"_*.{format}"))), None)
    return {"train_file": train} | ({"eval_file": scored} if scored else {})


for _format, _kind in (("csv", "CSV"), ("jsonl", "JSON-lines")):
    register_reader(
        _format,
        title=f"Own images (a {_kind} table)",
        takes=_TAKEN,
        sign=partial(_sign, format=_format),
        layout=f"train.{_format} or one *.{_format}: a line for each image, with the columns image and labels",
    )(partial(list_table, format=_format))


def read_records(file: Path, format: str, root: Path, request: Request, problems: Problems) -> Listing:
    """Read the lines of a file of format "csv" or "jsonl" with any name; relative paths start from `root`."""
    before = len(problems.found)
    lines = LINES[format](file, problems)
    listing = Listing(str(file))
    if not lines:
        if len(problems.found) == before:
            problems.add("empty file", file, "there is no image in it", "write one line for each image")
        return listing
    if format == "csv":
        first = Line(f"{file}, line 1", lines[0].cells)
        image = find_column("image_column", request.image_column, IMAGE_COLUMNS, first, problems)
        further = [name for name in first.cells if name and name != image]
        has_unknown = UNKNOWN_COLUMN in further and not is_marks(lines, UNKNOWN_COLUMN)
        if has_unknown:
            further.remove(UNKNOWN_COLUMN)
        if request.label_column is None and not set(LABEL_COLUMNS) & set(further) and len(further) > 1:
            listing = read_marks(file, lines, image, further, root, request.label_names, problems)
            return _with_unknown(listing, lines, request.parting, problems) if has_unknown else listing
        label = find_column("label_column", request.label_column, LABEL_COLUMNS, first, problems)
        if image is None or label is None:
            return listing
    listing.notes += _parts(file, lines)
    kept: list[tuple[Line, str, str]] = []
    for line in lines:
        image = find_column("image_column", request.image_column, IMAGE_COLUMNS, line, problems)
        label = find_column("label_column", request.label_column, LABEL_COLUMNS, line, problems)
        path = image_path(line, image, problems) if image is not None and label is not None else None
        if path is not None and label is not None:
            kept.append((line, path, label))
    places = [line.place for line, _, _ in kept]
    columns = {label for _, _, label in kept}
    lists = label_lists(
        [line.cells[label] for line, _, label in kept],
        [line.cells.get(UNKNOWN_COLUMN) for line, _, _ in kept],
        places,
        " or ".join(sorted(columns)),
        request.label_names,
        request.parting,
        problems,
    )
    listing.notes += [f"{file}: {note}" for note in lists.notes]
    for (line, path, _), labels, unknown in zip(kept, lists.labels, lists.unknown, strict=True):
        if labels is not None and unknown is not None:
            listing.records.append(Record(line.place, path, find_image(path, [root]), labels, unknown))
    return listing


def _parts(file: Path, lines: Sequence[Line]) -> Iterator[str]:
    """Notes on columns that seem to assign lines to splits and are not read."""
    for column in sorted(PARTS & set(lines[0].cells)):
        values = {str(line.cells.get(column)) for line in lines}
        if len(values) > 1:
            some_values = some(sorted(values), 4)
            yield f"{file}: column {column!r} is not read: its lines ({some_values}) are all of one split"


def _with_unknown(listing: Listing, lines: Sequence[Line], separator: str, problems: Problems) -> Listing:
    """Add the labels in the column `unknown` of a table of marks."""
    cells, places = [line.cells[UNKNOWN_COLUMN] for line in lines], [line.place for line in lines]
    named = label_lists(cells, [None] * len(cells), places, UNKNOWN_COLUMN, None, separator, problems)
    unknown_of = dict(zip(places, named.labels, strict=True))
    for record in listing.records:
        record.unknown.extend(name for name in unknown_of[record.place] or [] if name not in record.unknown)
    return listing
