"""A folder of pictures with a metadata file, laid out as for the `imagefolder` of `datasets`."""

from collections.abc import Sequence
from pathlib import Path

from sct_hf.data.base import LabelledImages
from sct_hf.data.tables import Columns, from_records, read_records
from sct_hf.errors import InputError

_METADATA = ("metadata.jsonl", "metadata.csv")
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation"}


def read_folder(
    split: str,
    *,
    data_dir: str | Path,
    image_column: str | None = None,
    label_column: str | None = None,
    separator: str | None = None,
    label_names: Sequence[str] | None = None,
    skip_missing_images: bool = False,
) -> LabelledImages:
    """Read `<data_dir>/<split>/metadata.jsonl` (or .csv), or the split's lines of `<data_dir>/metadata.jsonl`.

    In the second case the lines of a split are those whose path starts with `<split>/`; a metadata file whose paths
    start with no usual name of a split is all "train". Pictures that the metadata do not list are left out. Columns,
    labels and paths are those of `sct_hf.data.tables.read_table`.

    Args:
        split: Name of the split.
        data_dir: The folder.
        image_column: Column of the path, `file_name` in the usual layout.
        label_column: Column of the labels.
        separator: What parts the labels of a cell; by default each of "|", ";" and ",".
        label_names: All labels, in order; by default those found in the metadata of the split, sorted.
        skip_missing_images: Leave out pictures whose file is missing or broken instead of raising.

    Raises:
        InputError: No metadata or no such split, or whatever is wrong with the table or its pictures.
    """
    root = Path(data_dir)
    columns = Columns(image_column, label_column, separator)
    own = _metadata_of(root / split)
    whole = _metadata_of(root)
    if own is not None:
        records = read_records(own, own.suffix[1:], own.parent, columns)
    elif whole is not None:
        listed = read_records(whole, whole.suffix[1:], root, columns)
        folder_of = [Path(record.image).parts[0] for record in listed]
        records = [record for record, folder in zip(listed, folder_of, strict=True) if folder == split]
        if split == "train" and not set(folder_of) & _SPLITS:
            records = listed
        if not records:
            raise InputError(
                f"split is {split!r}, but no path in {whole} starts with {split}/: move its pictures there"
            )
    else:
        raise InputError(
            f"data_dir is {str(root)!r}, but neither it nor {str(root / split)!r} has {' or '.join(_METADATA)}: write "
            'one with lines such as {"file_name": "0001.jpg", "labels": ["cat", "sofa"]}'
        )
    return from_records(
        records, label_names=label_names, name="imagefolder", split=split, skip_missing_images=skip_missing_images
    )


def _metadata_of(folder: Path) -> Path | None:
    return next((folder / name for name in _METADATA if (folder / name).is_file()), None)
