"""Objects in the annotations of Pascal VOC: XML files as the VOC archives, labelImg and Roboflow have them."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sct_hf.data.listing import usable_names
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
    text = read_text(file, problems)
    if text is None:
        return None
    try:
        if "<!DOCTYPE" in text:
            raise ElementTree.ParseError("it declares a document type, which VOC files do not have")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        problems.add("not XML", file, f"the annotation cannot be read ({error})", _REMEDY)
        return None
    marks: dict[str, int] = {}
    for item in root.iter("object"):
        mark = DIFFICULT if item.findtext("difficult", "0").strip() == "1" else PRESENT
        for name in usable_names([item.findtext("name", "")], file, problems):
            marks[name] = max(marks.get(name, mark), mark)
    return Annotation(root.findtext("filename", "").strip(), marks)


def with_mark(marks: dict[str, int], wanted: int) -> list[str]:
    """The labels with a mark."""
    return [label for label, mark in marks.items() if mark == wanted]
