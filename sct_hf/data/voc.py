"""Pascal VOC2007 and VOC2012 as their archives unpack: `VOCdevkit/VOC<year>`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from sct_hf.data.base import LabelledImages
from sct_hf.data.rows import Row, labelled_images
from sct_hf.errors import InputError

VOC_LABELS: list[str] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]

_PRESENT, _DIFFICULT, _ABSENT = 1, 0, -1


def read_voc(
    split: str,
    *,
    year: int,
    data_dir: str | Path,
    difficult: Literal["negative", "ignore"] = "negative",
    skip_missing_images: bool = False,
) -> LabelledImages:
    """Read one split of Pascal VOC.

    Labels come from the official `ImageSets/Main/<label>_<split>.txt`; for a split that has only its list of ids,
    from the objects in `Annotations`.

    Args:
        split: "train", "val", "trainval", "test", or any list in `ImageSets/Main`.
        year: 2007 or 2012.
        data_dir: The folder `VOCdevkit`, the one that holds it, or `VOC<year>` itself.
        difficult: What a label counts as in an image that has only difficult objects of it: "negative", as in
            training, or "ignore", unknown, as in the official evaluation.
        skip_missing_images: Leave out images whose file is missing or broken instead of raising.

    Raises:
        InputError: No such folder or split, an unknown `difficult`, wrong label files, missing or broken images.
    """
    if difficult not in ("negative", "ignore"):
        raise InputError(f"difficult is {difficult!r}: give 'negative' or 'ignore'")
    root = _find_root(Path(data_dir), year)
    listing = root / "ImageSets" / "Main" / f"{split}.txt"
    if not listing.is_file():
        known = sorted(path.stem for path in listing.parent.glob("*.txt") if "_" not in path.stem)
        raise InputError(f"split is {split!r}, but there is no {listing}; splits found: {', '.join(known) or 'none'}")
    ids = listing.read_text(encoding="utf-8").split()
    marks = _marks_of_label_files(root, split, ids) or _marks_of_annotations(root, ids)
    rows = []
    for image_id, row in zip(ids, marks, strict=True):
        unknown = [label for label, mark in enumerate(row) if mark == _DIFFICULT and difficult == "ignore"]
        present = [label for label, mark in enumerate(row) if mark == _PRESENT]
        rows.append(Row(image_id, root / "JPEGImages" / f"{image_id}.jpg", present, unknown))
    return labelled_images(rows, VOC_LABELS, name=f"voc{year}", split=split, skip_missing_images=skip_missing_images)


read_voc2007 = partial(read_voc, year=2007)
read_voc2012 = partial(read_voc, year=2012)


def _find_root(data_dir: Path, year: int) -> Path:
    for root in (data_dir / f"VOC{year}", data_dir / "VOCdevkit" / f"VOC{year}", data_dir):
        if (root / "ImageSets" / "Main").is_dir() and (root != data_dir or data_dir.resolve().name == f"VOC{year}"):
            return root.absolute()
    raise InputError(
        f"data_dir is {str(data_dir)!r}, but it holds no VOC{year}/ImageSets/Main: give the VOCdevkit folder that "
        f"the VOC{year} archives unpack to"
    )


def _marks_of_label_files(root: Path, split: str, ids: list[str]) -> list[list[int]] | None:
    """Marks (N, 20) from the per-label files, or None if the split has none."""
    files = [root / "ImageSets" / "Main" / f"{label}_{split}.txt" for label in VOC_LABELS]
    missing = [file.name for file in files if not file.is_file()]
    if len(missing) == len(files):
        return None
    if missing:
        raise InputError(f"{files[0].parent} lacks {', '.join(missing)}: unpack the VOC archive again")
    columns = []
    for file in files:
        words = file.read_text(encoding="utf-8").split()
        mark_of = dict(zip(words[::2], words[1::2], strict=False))
        if mark_of.keys() != set(ids) or not set(mark_of.values()) <= {"1", "0", "-1"}:
            raise InputError(f"{file} does not give each image of {split}.txt one of 1, 0, -1: unpack it again")
        columns.append([int(mark_of[image_id]) for image_id in ids])
    return [list(row) for row in zip(*columns, strict=True)]


def _marks_of_annotations(root: Path, ids: list[str]) -> list[list[int]]:
    """Marks (N, 20) from the objects of each image."""
    marks = []
    for image_id in ids:
        row = [_ABSENT] * len(VOC_LABELS)
        for label, is_difficult in _objects(root / "Annotations" / f"{image_id}.xml"):
            row[label] = max(row[label], _DIFFICULT if is_difficult else _PRESENT)
        marks.append(row)
    return marks


def _objects(file: Path) -> Iterator[tuple[int, bool]]:
    try:
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"annotation {file} cannot be read: {error}; unpack the VOC archive again") from error
    for item in root.iter("object"):
        name = item.findtext("name", "").strip()
        if name not in VOC_LABELS:
            raise InputError(f"annotation {file} has object {name!r}: the labels are {', '.join(VOC_LABELS)}")
        yield VOC_LABELS.index(name), item.findtext("difficult", "0").strip() == "1"
