"""LabelMe: one JSON file for each image."""

from pathlib import Path, PureWindowsPath

from sct_hf.data.listing import FileReader, Listing, Record
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_json
from sct_hf.errors import InputError
from sct_hf.files import images_below

_FORMAT = "save the image's labels in LabelMe again, or take the file away"


def list_labelme(split: str, problems: Problems, *, data_dir: str | Path) -> Listing:
    """List the JSON files of a folder and its subfolders: the labels of their shapes, and the flags that are set.

    Flags are those of the image; those of single shapes count for nothing. Images without a JSON file beside them
    are left out.

    Args:
        split: Name of the split: `<data_dir>/<split>`, or, for "train" without such a folder, `data_dir` itself.
        problems: Where to add what is wrong.
        data_dir: The folder.

    Raises:
        InputError: No such folder.
    """
    folder = Path(data_dir) / split
    if not folder.is_dir() and split == "train":
        folder = Path(data_dir)
    if not folder.is_dir():
        raise InputError(f"split is {split!r}, but there is no folder {folder}: make it, or give another data_dir")
    listing = Listing(str(folder))
    for file in sorted(folder.rglob("*.json")):
        record = _record(file, folder, problems)
        if record is not None:
            listing.records.append(record)
    labelled = {record.path.resolve() for record in listing.records}
    left_out = sum(path.resolve() not in labelled for path in images_below(folder))
    if left_out:
        listing.notes.append(f"{folder}: {left_out} images without a JSON file are left out")
    return listing


read_labelme = FileReader("labelme", list_labelme)


def _record(file: Path, folder: Path, problems: Problems) -> Record | None:
    content = read_json(file, problems)
    if content is None:
        return None
    try:
        image = file.parent.absolute() / PureWindowsPath(content["imagePath"]).as_posix()
        flags = [name for name, is_set in (content.get("flags") or {}).items() if is_set]
        labels = list(dict.fromkeys([*flags, *(shape["label"] for shape in content["shapes"])]))
    except (AttributeError, KeyError, TypeError) as error:
        text = f"not a file of LabelMe ({type(error).__name__}: {error})"
        problems.add("wrong format", file, text, _FORMAT)
        return None
    return Record(str(file), file.relative_to(folder).with_suffix("").as_posix(), image, labels)
