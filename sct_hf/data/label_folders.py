"""A folder for each label, in which an image may lie as often as it has labels."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sct_hf.data.fingerprint import fingerprint
from sct_hf.data.folder import SPLITS
from sct_hf.data.listing import FileReader, Listing, Record
from sct_hf.data.problems import Problems
from sct_hf.errors import InputError
from sct_hf.files import images_below


def list_label_folders(split: str, problems: Problems, *, data_dir: str | Path) -> Listing:
    """List `<data_dir>/<split>/<label>/…`: an image has the labels of all folders that it lies in.

    Two files are one image if their content is the same (see `sct_hf.data.fingerprint`), whatever their names: a
    copy, or a link. Files of one name and different content are two images, as `dog/1.jpg` and `sofa/1.jpg` often
    are. The label is the first folder below the split's; deeper ones count for nothing. Images beside those folders
    have no label. The labels are the names of the folders, sorted.

    Args:
        split: Name of the split; "train" may be the whole of `data_dir`, if no folder in it has the name of a split.
        problems: Where to add what is wrong; nothing can be wrong in names of folders.
        data_dir: The folder.

    Raises:
        InputError: No such folder.
    """
    root = Path(data_dir)
    folder = root / split
    if not folder.is_dir():
        inside = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
        if not inside or split != "train" or inside & SPLITS:
            raise InputError(
                f"split is {split!r}, but there is no folder {folder}: make it, with a folder for each label in it, "
                "or give another data_dir"
            )
        folder = root
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    listing = Listing(str(folder), label_names=names)
    files = images_below(folder)
    with ThreadPoolExecutor() as pool:
        prints = list(pool.map(fingerprint, files))
    record_of: dict[bytes, Record] = {}
    for file, content in zip(files, prints, strict=True):
        below = file.relative_to(folder)
        record = record_of.setdefault(content, Record(str(file), below.as_posix(), file.absolute(), []))
        if len(below.parts) > 1 and below.parts[0] not in record.labels:
            record.labels.append(below.parts[0])
    listing.records = list(record_of.values())
    if len(files) > len(record_of):
        listing.notes.append(f"{folder}: {len(files)} files are {len(record_of)} images")
    return listing


read_label_folders = FileReader("labelfolders", list_label_folders)
