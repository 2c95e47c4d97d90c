"""Lists of images and their labels in CSV or JSON Lines files."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sct_hf.data.lines import LINES, Line, find_column, image_path
from sct_hf.data.listing import FileReader, Listing, Record
from sct_hf.data.marks import read_marks
from sct_hf.data.problems import Problems
from sct_hf.errors import InputError

IMAGE_COLUMNS = ("image", "file_name", "path", "filename", "image_path", "file")
LABEL_COLUMNS = ("labels", "label", "tags", "categories")
UNKNOWN_COLUMN = "unknown"

_SEPARATORS = re.compile(r"[|;,]")


@dataclass(frozen=True)
class Columns:
    """Where a table keeps what.

    Attributes:
        image: Column of the path; None: the first there is of `IMAGE_COLUMNS`.
        label: Column of the labels; None: the first there is of `LABEL_COLUMNS`.
        separator: What parts the labels of a cell; None: each of "|", ";" and ",".
        label_names: All labels where they are known: the columns of a table with one column a label.
    """

    image: str | None = None
    label: str | None = None
    separator: str | None = None
    label_names: Sequence[str] | None = None


def list_table(
    split: str,
    problems: Problems,
    *,
    format: str,
    files: str | Path | Sequence[str | Path] | None = None,
    data_dir: str | Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    separator: str | None = None,
    label_names: Sequence[str] | None = None,
) -> Listing:
    """List a table with one image a row: its path, and its labels as a JSON list or in one separated cell.

    A further column `unknown`, written like the labels, names labels that nobody judged in the image. A CSV file
    that has no column of labels, and two or more columns beside the path, has one column a label (see
    `sct_hf.data.marks`).

    Args:
        split: Name of the split; without `files`, `<data_dir>/<split>.<format>` is read.
        problems: Where to add what is wrong.
        format: "csv" or "jsonl".
        files: The file or files of the split. UTF-8; CSV with a header.
        data_dir: The folder that relative paths start from; by default the folder of the file they stand in.
        image_column: Column of the path; by default the first there is of `IMAGE_COLUMNS`.
        label_column: Column of the labels; by default the first there is of `LABEL_COLUMNS`.
        separator: What parts the labels of a cell; by default each of "|", ";" and ",".
        label_names: All labels, in order; by default those found, sorted, or the columns in their order.

    Raises:
        InputError: No file is named.
    """
    if files is None and data_dir is None:
        raise InputError(f"files is not given: name the {format} file of split {split!r}")
    if files is None:
        paths = [Path(data_dir or "") / f"{split}.{format}"]
    else:
        paths = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
    columns = Columns(image_column, label_column, separator, label_names)
    whole = Listing(", ".join(map(str, paths)))
    for path in paths:
        part = read_records(path, format, Path(data_dir) if data_dir is not None else path.parent, columns, problems)
        whole.records += part.records
        whole.notes += part.notes
        if part.label_names is not None:
            whole.label_names = list(dict.fromkeys([*(whole.label_names or []), *part.label_names]))
    return whole


read_csv = FileReader("csv", partial(list_table, format="csv"))
read_jsonl = FileReader("jsonl", partial(list_table, format="jsonl"))


def read_records(file: Path, format: str, root: Path, columns: Columns, problems: Problems) -> Listing:
    """Read the lines of a file of format "csv" or "jsonl", whatever its name; relative paths start from `root`."""
    before = len(problems.found)
    lines = LINES[format](file, problems)
    if not lines and len(problems.found) == before:
        problems.add("empty file", file, "there is no image in it", "write one line for each image")
    if lines and format == "csv":
        first = Line(f"{file}, line 1", lines[0].cells)
        image = find_column("image_column", columns.image, IMAGE_COLUMNS, first, problems)
        further = [name for name in first.cells if name and name not in (image, UNKNOWN_COLUMN)]
        usual = set(LABEL_COLUMNS) & set(further)
        if columns.label is None and not usual and len(further) > 1:
            return read_marks(file, lines, image, further, root, columns.label_names, problems)
        label = find_column("label_column", columns.label, LABEL_COLUMNS, first, problems)
        if image is None or label is None:
            return Listing(str(file))
    listing = Listing(str(file))
    for line in lines:
        image = find_column("image_column", columns.image, IMAGE_COLUMNS, line, problems)
        label = find_column("label_column", columns.label, LABEL_COLUMNS, line, problems)
        if image is None or label is None:
            continue
        path = image_path(line, image, problems)
        labels = _names(line, label, columns.separator, problems)
        unknown = _names(line, UNKNOWN_COLUMN, columns.separator, problems)
        if path is not None and labels is not None and unknown is not None:
            listing.records.append(Record(line.place, path, (root / path).absolute(), labels, unknown))
    return listing


def _names(line: Line, column: str, separator: str | None, problems: Problems) -> list[str] | None:
    """Label names of a cell: a list, a JSON list as text, or separated text; None, and a problem, for all else."""
    cell = line.cells.get(column)
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError as error:
            text = f"{column} is {cell!r}, which is no JSON list ({error})"
            problems.add("wrong labels", line.place, text, 'write ["dog", "sofa"], or dog|sofa')
            return None
    elif isinstance(cell, str):
        parts = _SEPARATORS.split(cell) if separator is None else cell.split(separator)
        cell = [part.strip() for part in parts if part.strip()]
    cell = [] if cell is None else cell
    if isinstance(cell, list) and all(isinstance(label, str) for label in cell):
        return cell
    remedy = "give a list of names, or names parted by a separator"
    problems.add("wrong labels", line.place, f"{column} is {cell!r}", remedy)
    return None
