"""A folder of images with a metadata file, laid out as for the `imagefolder` of `datasets`."""

from pathlib import Path

from sct_hf.data.listing import FileReader, Listing
from sct_hf.data.problems import Problems
from sct_hf.data.tables import Columns, read_records
from sct_hf.errors import InputError

_METADATA = ("metadata.jsonl", "metadata.csv")
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation"}


def list_folder(
    split: str,
    problems: Problems,
    *,
    data_dir: str | Path,
    image_column: str | None = None,
    label_column: str | None = None,
    separator: str | None = None,
) -> Listing:
    """List `<data_dir>/<split>/metadata.jsonl` (or .csv), or the split's lines of `<data_dir>/metadata.jsonl`.

    In the second case the lines of a split are those whose path starts with `<split>/`; a metadata file whose paths
    start with no usual name of a split is all "train". Images that the metadata do not list are left out. Columns,
    labels and paths are those of `sct_hf.data.tables.list_table`.

    Args:
        split: Name of the split.
        problems: Where to add what is wrong.
        data_dir: The folder.
        image_column: Column of the path, `file_name` in the usual layout.
        label_column: Column of the labels.
        separator: What parts the labels of a cell; by default each of "|", ";" and ",".

    Raises:
        InputError: No metadata, or no such split.
    """
    root = Path(data_dir)
    columns = Columns(image_column, label_column, separator)
    own = _metadata_of(root / split)
    whole = _metadata_of(root)
    if own is not None:
        return read_records(own, own.suffix[1:], own.parent, columns, problems)
    if whole is not None:
        listing = read_records(whole, whole.suffix[1:], root, columns, problems)
        folder_of = [Path(record.image).parts[0] for record in listing.records]
        if split == "train" and not set(folder_of) & SPLITS:
            return listing
        chosen = [record for record, folder in zip(listing.records, folder_of, strict=True) if folder == split]
        if listing.records and not chosen:
            raise InputError(f"split is {split!r}, but no path in {whole} starts with {split}/: move its images there")
        listing.records = chosen
        return listing
    raise InputError(
        f"data_dir is {str(root)!r}, but neither it nor {str(root / split)!r} has {' or '.join(_METADATA)}: write "
        'one with lines such as {"file_name": "0001.jpg", "labels": ["cat", "sofa"]}'
    )


read_folder = FileReader("imagefolder", list_folder)


def _metadata_of(folder: Path) -> Path | None:
    return next((folder / name for name in _METADATA if (folder / name).is_file()), None)
