"""Objects in the annotations of Pascal VOC: XML files as the VOC archives, labelImg and Roboflow have them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sct_hf.data.boxes import BoxedImage, checked_numbers, image_size
from sct_hf.data.listing import usable_names
from sct_hf.data.names import shown
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_text

PRESENT, DIFFICULT, ABSENT = 1, 0, -1
_REMEDY = "correct it, or export it again"


@dataclass(frozen=True)
class Annotation:
    """An annotation of one image.

    Attributes:
        filename: The name of the image's file as written; empty if there is none.
        marks: {label: `PRESENT`, or `DIFFICULT` if all its objects are difficult}.
    """

    filename: str
    marks: dict[str, int]


def read_annotation(file: Path, problems: Problems) -> Annotation | None:
    """Read an annotation; return None and add a problem if it cannot be read.

    Args:
        file: The XML file.
        problems: Collects the errors.
    """
    root = _parsed(file, problems)
    if root is None:
        return None
    marks: dict[str, int] = {}
    for name, mark, _ in _objects(root, file, problems):
        marks[name] = max(marks.get(name, mark), mark)
    return Annotation(root.findtext("filename", "").strip(), marks)


def read_boxes(files: Iterable[Path], problems: Problems) -> dict[str, BoxedImage]:
    """Read the boxes in annotations, by the name of the file without its ending.

    Coordinates of the files count pixels from 1, the last one included. Boxes of parts, such as heads, are left out.

    Args:
        files: The XML files.
        problems: Collects the errors.
    """
    found = {}
    for file in files:
        root = _parsed(file, problems)
        if root is not None:
            width, height = (root.findtext(f"size/{side}") for side in ("width", "height"))
            size = image_size(width, height, file, _REMEDY, problems)
            if size is not None:
                found[file.stem] = BoxedImage(size)
                _add_boxes(found[file.stem], root, file, problems)
    return found


def _add_boxes(image: BoxedImage, root: ElementTree.Element, file: Path, problems: Problems) -> None:
    for name, mark, item in _objects(root, file, problems):
        corners = [item.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
        numbers = checked_numbers(corners, 4, f"the box of a {name}", file, _REMEDY, problems)
        if numbers is not None:
            left, top, right, bottom = numbers
            if not image.add(name, (left - 1, top - 1, right, bottom), hard=mark == DIFFICULT):
                text = f"the box of a {name}, {shown(corners)}, is empty or outside the image"
                problems.add("wrong box", file, text, _REMEDY)


def _parsed(file: Path, problems: Problems) -> ElementTree.Element | None:
    text = read_text(file, problems)
    if text is None:
        return None
    try:
        if "<!DOCTYPE" in text:
            raise ElementTree.ParseError("it declares a document type, which VOC files do not have")
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        problems.add("not XML", file, f"the annotation cannot be read ({error})", _REMEDY)
        return None


def _objects(
    root: ElementTree.Element, file: Path, problems: Problems
) -> Iterator[tuple[str, int, ElementTree.Element]]:
    """Name, mark and element of each object."""
    for item in root.iter("object"):
        mark = DIFFICULT if item.findtext("difficult", "0").strip() == "1" else PRESENT
        for name in usable_names([item.findtext("name", "")], file, problems):
            yield name, mark, item


def with_mark(marks: dict[str, int], wanted: int) -> list[str]:
    """The labels with a mark."""
    return [label for label, mark in marks.items() if mark == wanted]
