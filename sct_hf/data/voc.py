"""Pascal VOC2007 and VOC2012 in the layout of their archives: `VOCdevkit/VOC<year>`."""

import os
from functools import partial
from pathlib import Path

from sct_hf.data.boxes import BoxedImage
from sct_hf.data.listing import Listing, Record
from sct_hf.data.names import shown
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.text_files import read_lines
from sct_hf.data.voc_objects import ABSENT, DIFFICULT, PRESENT, read_annotation, read_boxes, with_mark
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


def list_voc(request: Request, problems: Problems, *, year: int) -> Listing:
    """List a split of Pascal VOC in the folder `VOCdevkit`, its parent, or `VOC<year>` itself.

    Labels come from the official `ImageSets/Main/<label>_<split>.txt`. For a split with only a list of ids, they come
    from the objects in `Annotations`. A split is "train", "val", "trainval", "test", or any list in `ImageSets/Main`.

    Args:
        request: The folder and the split.
        problems: Collects the errors.
        year: 2007 or 2012.

    Raises:
        InputError: The folder or the split does not exist.
    """
    assert request.data_dir is not None
    root, split = _find_root(request.data_dir, year), request.split
    file = root / "ImageSets" / "Main" / f"{split}.txt"
    if not os.path.isfile(file):
        known = sorted(path.stem for path in file.parent.glob("*.txt") if "_" not in path.stem)
        raise SplitError(split, f"there is no {file}; splits found: {', '.join(known) or 'none'}")
    lines = [(number, line.strip()) for number, line in enumerate(read_lines(file, problems), 1) if line.strip()]
    ids = [image_id for _, image_id in lines]
    marks = _marks_of_label_files(root, split, ids, problems)
    if marks is None:
        marks = _marks_of_objects(root, ids, problems)
    listing = Listing(str(file), label_names=list(VOC_LABELS))
    for number, image_id in lines:
        labels, difficult = (with_mark(marks.get(image_id, {}), wanted) for wanted in (PRESENT, DIFFICULT))
        path = root / "JPEGImages" / f"{image_id}.jpg"
        listing.records.append(Record(f"{file}, line {number}", image_id, path, labels, [], difficult))
    return listing


def voc_boxes(request: Request, problems: Problems, *, year: int) -> dict[str, BoxedImage]:
    """Read the boxes of a split from `Annotations`; arguments as in `list_voc`."""
    assert request.data_dir is not None
    folder = _find_root(request.data_dir, year) / "Annotations"
    records = list_voc(request, problems, year=year).records
    return read_boxes([folder / f"{record.image}.xml" for record in records], problems)


def _sign(place: Path, *, year: int) -> dict[str, Path | str] | None:
    """`VOC<year>/ImageSets/Main` with lists of VOC's labels, and the first of the official pairs that it has."""
    try:
        lists = _find_root(place, year) / "ImageSets" / "Main"
    except InputError:
        return None
    if not any(lists.glob(f"{VOC_LABELS[0]}_*.txt")):  # own images in the layout: the reader "voc"
        return None
    pairs = [("trainval", "test"), ("train", "val")]
    whole = next((pair for pair in pairs if all((lists / f"{split}.txt").is_file() for split in pair)), None)
    return {"data_dir": place} | ({"train_split": whole[0], "eval_split": whole[1]} if whole else {})


for _year in (2007, 2012):
    register_reader(
        f"voc{_year}",
        title=f"Pascal VOC {_year}",
        needs=["data_dir"],
        published=True,
        sign=partial(_sign, year=_year),
        layout="VOC2007 or VOC2012 with ImageSets/Main, as in the archives",
        boxer=partial(voc_boxes, year=_year),
    )(partial(list_voc, year=_year))


def _find_root(data_dir: Path, year: int) -> Path:
    for root in (data_dir / f"VOC{year}", data_dir / "VOCdevkit" / f"VOC{year}", data_dir):
        if os.path.isdir(root / "ImageSets" / "Main") and (
            root != data_dir or data_dir.resolve().name == f"VOC{year}"
        ):
            return root.absolute()
    raise InputError(
        f"data_dir is {str(data_dir)!r}, but it holds no VOC{year}/ImageSets/Main: give the VOCdevkit folder that "
        f"the VOC{year} archives unpack to"
    )


def _marks_of_label_files(
    root: Path, split: str, ids: list[str], problems: Problems
) -> dict[str, dict[str, int]] | None:
    """{image id: {label: mark}} of the per-label files, without absent labels; None if the split has no such file."""
    files = {label: root / "ImageSets" / "Main" / f"{label}_{split}.txt" for label in VOC_LABELS}
    missing = [file.name for file in files.values() if not os.path.isfile(file)]
    if len(missing) == len(files):
        return None
    marks: dict[str, dict[str, int]] = {image_id: {} for image_id in ids}
    if missing:
        folder = root / "ImageSets" / "Main"
        problems.add("no file", folder, f"it lacks {', '.join(missing)}", "unpack the VOC archive again")
        return marks
    for label, file in files.items():
        left = set(ids)
        for number, line in enumerate(read_lines(file, problems), start=1):
            words = line.split()
            if not words:
                continue
            if len(words) != 2 or words[0] not in left or words[1] not in ("1", "0", "-1"):
                text = f"{shown(line.strip())} is not an image of {split}.txt with 1, 0 or -1, or appears twice"
                problems.add("wrong mark", f"{file}, line {number}", text, "unpack the VOC archive again")
                continue
            left.discard(words[0])
            if int(words[1]) != ABSENT:
                marks[words[0]][label] = int(words[1])
        if left:
            text = f"it does not give each image of {split}.txt one of 1, 0, -1: {min(left)} has none"
            problems.add("wrong mark", file, text, "unpack the VOC archive again")
    return marks


def _marks_of_objects(root: Path, ids: list[str], problems: Problems) -> dict[str, dict[str, int]]:
    """{image id: {label: mark}} of the objects in the annotations; objects of other labels are one problem."""
    found: dict[str, dict[str, int]] = {}
    strange: dict[str, Path] = {}
    for image_id in ids:
        file = root / "Annotations" / f"{image_id}.xml"
        annotation = read_annotation(file, problems)
        marks = annotation.marks if annotation else {}
        strange |= {name: file for name in marks if name not in VOC_LABELS and name not in strange}
        found[image_id] = {name: mark for name, mark in marks.items() if name in VOC_LABELS}
    if strange:
        (name, file), more = next(iter(strange.items())), len(strange) - 1
        text = f"object {shown(name)} in {file.name} is none of the 20 labels of Pascal VOC"
        text += f", nor are {more} more labels" if more else ""
        problems.add("unknown label", file.parent, text, "give --dataset voc, which takes the labels that it finds")
    return found
