"""Own images with annotations in the format of Pascal VOC: labelImg, Roboflow, CVAT, or a VOC folder of own labels."""

import os
from collections.abc import Sequence
from pathlib import Path

from sct_hf.data.boxes import BoxedImage
from sct_hf.data.folder import SPLITS
from sct_hf.data.listing import Listing, Record
from sct_hf.data.places import find_image, unread_files
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.signs import begins_with
from sct_hf.data.text_files import read_lines
from sct_hf.data.voc_objects import DIFFICULT, PRESENT, read_annotation, read_boxes, with_mark
from sct_hf.files import images_below

_LISTS = Path("ImageSets", "Main")
_IMAGES = ("JPEGImages", "images", "Images", "")
_XML = ("Annotations", "annotations", "")
_SKELETONS = ("", "VOC2007", "VOC2012", "VOCdevkit/VOC2007", "VOCdevkit/VOC2012")


def _sign(place: Path) -> dict[str, Path | str] | None:
    """XML files of `<annotation>` in `Annotations/`, in the folder or in its "train"."""
    root = _root(place)
    folder = root / "train" if (root / "train").is_dir() else _annotations(root)
    first = next(iter(sorted(folder.glob("*.xml"))), None) if folder.is_dir() else None
    if first is None or not any(begins_with(first, start, "<filename>") for start in ("<annotation>", "<annotation ")):
        return None
    if any((root / _LISTS).glob("aeroplane_*.txt")):  # the archive of Pascal VOC itself
        return None
    lists = _lists(root)
    pairs = [("trainval", "test"), ("train", "val"), ("train", "test")]
    whole = next((pair for pair in pairs if {*pair} <= {*lists}), None)
    if whole:
        return {"data_dir": place, "train_split": whole[0], "eval_split": whole[1]}
    return {"data_dir": place} | ({"train_split": lists[0]} if len(lists) == 1 else {})


def voc_xml_boxes(request: Request, problems: Problems) -> dict[str, BoxedImage]:
    """Read the boxes of a split; arguments as in `list_voc_xml`."""
    return read_boxes([Path(record.place) for record in list_voc_xml(request, problems).records], problems)


@register_reader(
    "voc",
    title="Own images (Pascal VOC XML)",
    needs=["data_dir"],
    takes=["label_names"],
    sign=_sign,
    layout="an XML file with <annotation> for each image, in Annotations/, train/ or beside the images",
    boxer=voc_xml_boxes,
)
def list_voc_xml(request: Request, problems: Problems) -> Listing:
    """List the images of XML annotations; their labels are the names of the objects.

    A label of which an image has only difficult objects is marked as difficult. The annotations of a split are those
    in `ImageSets/Main/<split>.txt`, those in `<split>/`, or for "train" without either, all. They are in
    `Annotations/` or next to the images. An image has the name of its annotation, or the one written there as
    `filename`. Images without an annotation are left out.

    Args:
        request: The folder and the split. The folder may also hold `VOC2007`, `VOC2012` or `VOCdevkit`.
        problems: Collects the errors.

    Raises:
        InputError: The split does not exist.
    """
    assert request.data_dir is not None
    root, split = _root(request.data_dir), request.split
    lists, folder = _lists(root), root / split
    if split in lists:
        file = root / _LISTS / f"{split}.txt"
        names = [words[0] for line in read_lines(file, problems) if (words := line.split())]
        files = [_annotations(root) / f"{name}.xml" for name in dict.fromkeys(names)]
        return _listing(str(file), root, files, problems)
    if folder.is_dir():
        root = folder
    elif lists or split != "train" or any((root / name).is_dir() for name in SPLITS):
        known = lists or sorted(name for name in SPLITS if (root / name).is_dir())
        raise SplitError(
            split,
            f"there is neither {root / _LISTS / f'{split}.txt'} nor a folder {folder}; splits found: "
            f"{', '.join(known) or 'none'}",
        )
    files = sorted(_annotations(root).glob("*.xml"))
    listing = _listing(str(_annotations(root)), root, files, problems)
    listed = {record.path for record in listing.records}
    if left_out := sum(path.absolute() not in listed for path in images_below(root)):
        listing.notes.append(f"{root}: {left_out} images without an XML file are left out")
    if note := unread_files(root):
        listing.notes.append(note)
    return listing


def _listing(source: str, root: Path, files: Sequence[Path], problems: Problems) -> Listing:
    listing = Listing(source)
    roots = [folder for name in _IMAGES if (folder := (root / name).absolute()).is_dir()]
    for file in files:
        annotation = read_annotation(file, problems)
        if annotation is None:
            continue
        same = find_image(file.stem, roots)  # tools that rename images leave the old name in the file
        path = same if os.path.isfile(same) else find_image(annotation.filename or file.stem, roots)
        labels, difficult = (with_mark(annotation.marks, wanted) for wanted in (PRESENT, DIFFICULT))
        listing.records.append(Record(str(file), file.stem, path, labels, [], difficult))
    return listing


def _root(place: Path) -> Path:
    """The folder itself, or the one in it with `ImageSets/Main` or `Annotations`."""
    inner = (place / name for name in _SKELETONS)
    return next((root for root in inner if (root / _LISTS).is_dir() or (root / "Annotations").is_dir()), place)


def _annotations(root: Path) -> Path:
    return next(folder for name in _XML if (folder := root / name).is_dir() or not name)


def _lists(root: Path) -> list[str]:
    """Names of the lists of images; those of a single label, such as dog_train, are none."""
    names = {path.stem for path in (root / _LISTS).glob("*.txt")}
    return sorted(name for name in names if "_" not in name or name.rpartition("_")[2] not in names)
