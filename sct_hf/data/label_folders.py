"""One folder per label; an image with several labels is in several folders."""

import os
from pathlib import Path

from sct_hf.data.folder import SPLITS
from sct_hf.data.listing import Listing, Record, usable_names
from sct_hf.data.places import unread_files
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import Request, register_reader
from sct_hf.files import IMAGE_SUFFIXES, images_below

_TEXTS = {".json", ".jsonl", ".csv", ".xml", ".txt", ".yaml", ".yml"}
_NO_LABELS = {"images", "labels", "annotations", "data", "jpegimages", "imagesets"}


def _sign(place: Path) -> dict[str, Path] | None:
    """Folders of images, and nothing but images, in the folder or in its "train"."""
    folder = place / "train" if (place / "train").is_dir() else place
    if not folder.is_dir():
        return None
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    names = {path.name.lower() for path in folders}
    if not folders or names & SPLITS or (names | {path.name.lower() for path in place.iterdir()}) & _NO_LABELS:
        return None
    kinds = {path.suffix.lower() for one in [folder, *folders] for path in one.iterdir() if path.is_file()}
    return {"data_dir": place} if kinds & IMAGE_SUFFIXES and not kinds & _TEXTS else None


@register_reader(
    "labelfolders",
    title="Own images (a folder for each label)",
    needs=["data_dir"],
    takes=["label_names"],
    sign=_sign,
    layout="a folder of images for each label, in the folder or in train/, and no other files",
)
def list_label_folders(request: Request, problems: Problems) -> Listing:
    """List `<data_dir>/<split>/<label>/…`: an image has the labels of all folders that contain it.

    Files with the same content are one image, such as copies and links (see `sct_hf.data.fingerprint`). Files with the
    same name and different content are two images, as `dog/1.jpg` and `sofa/1.jpg` often are. The label is the first
    folder below the split's; deeper folders are ignored. Images directly in the split's folder have no label. The
    labels are the names of the folders, sorted.

    Args:
        request: The folder and the split. "train" may be all of `data_dir` if no folder in it has the name of a split.
        problems: Collects folders with unusable names.

    Raises:
        InputError: The folder does not exist.
    """
    assert request.data_dir is not None
    root, split = request.data_dir, request.split
    folder = root / split
    if not os.path.isdir(folder):
        inside = {path.name for path in root.iterdir() if path.is_dir()} if os.path.isdir(root) else set()
        if not inside or split != "train" or inside & SPLITS:
            raise SplitError(
                split,
                f"there is no folder {folder}: create it, with one folder per label, or give another data_dir",
            )
        folder = root
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    label_of = {name: label for name in names for label in usable_names([name], folder / name, problems)}
    listing = Listing(str(folder), label_names=list(dict.fromkeys(label_of.values())), one_image_by_content=True)
    for file in images_below(folder):
        below = file.relative_to(folder)
        labels = [label_of[part] for part in below.parts[:-1][:1] if part in label_of]
        listing.records.append(Record(str(file), below.as_posix(), file.absolute(), labels))
    if note := unread_files(folder):
        listing.notes.append(note)
    return listing
