"""LabelMe: one JSON file for each image."""

import os
from pathlib import Path

from sct_hf.data.listing import Listing, Record, usable_names
from sct_hf.data.names import shown
from sct_hf.data.places import find_image, unread_files
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.signs import begins_with
from sct_hf.data.text_files import read_json
from sct_hf.files import images_below

_FORMAT = "save the image's labels in LabelMe again, or remove the file"


def _sign(place: Path) -> dict[str, Path] | None:
    """JSON files of shapes in the folder, or in its "train"."""
    folder = place / "train" if (place / "train").is_dir() else place
    first = next(iter(sorted(folder.glob("*.json"))), None) if folder.is_dir() else None
    return {"data_dir": place} if first and begins_with(first, '"shapes"', '"imagePath"') else None


@register_reader(
    "labelme",
    title="Own images (LabelMe)",
    needs=["data_dir"],
    takes=["label_names"],
    sign=_sign,
    layout="a JSON file with shapes and imagePath for each image, in the folder or in train/",
)
def list_labelme(request: Request, problems: Problems) -> Listing:
    """List the JSON files of a folder and its subfolders: the labels of their shapes, and the flags that are set.

    Only flags of the image count, not those of single shapes. Images without a JSON file next to them are left out.

    Args:
        request: The folder and the split: `<data_dir>/<split>`, or for "train" without such a folder `data_dir`.
        problems: Collects the errors.

    Raises:
        InputError: The folder does not exist.
    """
    assert request.data_dir is not None
    folder, split = request.data_dir / request.split, request.split
    if not os.path.isdir(folder) and split == "train":
        folder = request.data_dir
    if not os.path.isdir(folder):
        raise SplitError(split, f"there is no folder {folder}: make it, or give another data_dir")
    listing = Listing(str(folder))
    for file in sorted(folder.rglob("*.json")):
        record = _record(file, folder, problems)
        if record is not None:
            listing.records.append(record)
    labelled = {os.path.abspath(record.path) for record in listing.records if record.path is not None}
    left_out = sum(os.path.abspath(path) not in labelled for path in images_below(folder))
    if left_out:
        listing.notes.append(f"{folder}: {left_out} images without a JSON file are left out")
    if note := unread_files(folder):
        listing.notes.append(note)
    return listing


def _record(file: Path, folder: Path, problems: Problems) -> Record | None:
    content = read_json(file, problems)
    if content is None:
        return None
    try:
        image = content["imagePath"]
        if not isinstance(image, str) or not image.strip() or "\0" in image:
            problems.add("no path", file, f"imagePath is {shown(image)}", _FORMAT)
            return None
        flags = [name for name, is_set in (content.get("flags") or {}).items() if is_set]
        found = [*flags, *(shape["label"] for shape in content["shapes"])]
    except (AttributeError, KeyError, TypeError) as error:
        text = f"not a file of LabelMe ({type(error).__name__}: {error})"
        problems.add("wrong format", file, text, _FORMAT)
        return None
    labels = usable_names(found, file, problems)
    name = file.relative_to(folder).with_suffix("").as_posix()
    return Record(str(file), name, find_image(image, [file.parent]), labels)
