"""A folder of images with a metadata file, in the layout of `imagefolder` of `datasets`."""

import os
from pathlib import Path, PureWindowsPath

from sct_hf.data.listing import Listing
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.tables import read_records
from sct_hf.errors import InputError

_METADATA = ("metadata.jsonl", "metadata.csv")
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation"}


@register_reader(
    "imagefolder",
    title="Own images (a folder)",
    needs=["data_dir"],
    takes=["image_column", "label_column", "label_names", "separator"],
    sign=lambda place: {"data_dir": place} if _metadata_of(place) or _metadata_of(place / "train") else None,
    layout="metadata.jsonl or metadata.csv, in the folder or in train/",
)
def list_folder(request: Request, problems: Problems) -> Listing:
    """List `<data_dir>/<split>/metadata.jsonl` (or .csv), or the split's lines of `<data_dir>/metadata.jsonl`.

    In the second case the lines of a split have paths that start with `<split>/`. If no path starts with a usual name
    of a split, all lines are "train". Images that are not in the metadata are left out. Columns, labels and paths are
    read as in `sct_hf.data.tables.list_table`.

    Args:
        request: The folder and the split, and columns as for a table.
        problems: Collects the errors.

    Raises:
        InputError: There is no metadata file, or the split does not exist.
    """
    assert request.data_dir is not None
    root, split = request.data_dir, request.split
    inner, outer = _metadata_of(root / split), _metadata_of(root)
    if inner is not None:
        return read_records(inner, inner.suffix[1:], inner.parent, request, problems)
    if outer is None:
        raise InputError(
            f"data_dir is {str(root)!r}, but neither it nor {str(root / split)!r} has {' or '.join(_METADATA)}: write "
            'one with lines such as {"file_name": "0001.jpg", "labels": ["cat", "sofa"]}'
        )
    listing = read_records(outer, outer.suffix[1:], root, request, problems)
    folder_of = [next(iter(PureWindowsPath(record.image.strip()).parts), "") for record in listing.records]
    if split == "train" and not set(folder_of) & SPLITS:
        return listing
    chosen = [record for record, folder in zip(listing.records, folder_of, strict=True) if folder == split]
    if listing.records and not chosen:
        raise SplitError(split, f"no path in {outer} starts with {split}/: move its images there")
    listing.records = chosen
    return listing


def _metadata_of(folder: Path) -> Path | None:
    return next((folder / name for name in _METADATA if os.path.isfile(folder / name)), None)
