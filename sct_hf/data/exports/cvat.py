"""CVAT: the export named "CVAT for images 1.1"."""

from pathlib import Path
from typing import Any
from xml import sax
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import Locator

from sct_hf.data.exports.export_files import ExportFile, export_files
from sct_hf.data.listing import Listing, Record, usable_names
from sct_hf.data.names import shown, tidy
from sct_hf.data.places import find_image
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.signs import begins_with
from sct_hf.data.text_files import read_text
from sct_hf.name_lists import some

_USUAL = ["{split}.xml", "{split}/annotations.xml", "annotations.xml"]
_FORMAT = 'export the task as "CVAT for images 1.1"'


def _sign(place: Path) -> dict[str, Path] | None:
    """An XML file of annotations, or a folder with one of the usual name."""
    if place.suffix.lower() == ".xml" and begins_with(place, "<annotations"):
        return {"train_file": place}
    usual = (name.format(split="train") for name in _USUAL)
    return {"data_dir": place} if any(begins_with(place / name, "<annotations") for name in usual) else None


@register_reader(
    "cvat",
    title="Own images (CVAT)",
    takes=["files", "data_dir", "label_names"],
    sign=_sign,
    layout="annotations.xml or train.xml, exported as CVAT for images 1.1",
)
def list_cvat(request: Request, problems: Problems) -> Listing:
    """List the images of `annotations.xml`: their tags, and the labels of their boxes and other shapes.

    The labels are those that the task or project declares, in order. In a project's export each image has a subset. If
    a file may have several splits, the images whose subset has the split's name are listed, ignoring case. If no image
    has a subset, all are "train". Images are in `images/`, `images/<subset>/` or next to the file. Video frames may
    have names without an ending.

    Args:
        request: The split and its exports, or the folder of the export. In a folder, `<data_dir>/<split>.xml`,
            `<data_dir>/<split>/annotations.xml` or `<data_dir>/annotations.xml` is read.
        problems: Collects the errors.

    Raises:
        InputError: No file is given, or the folder has none.
    """
    found = export_files(request, _USUAL)
    split, listing = request.split, Listing(", ".join(str(file.path) for file in found), label_names=[])
    for file in found:
        text = read_text(file.path, problems)
        if text is None:
            continue
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            text = "it declares a document type or entities, which CVAT files do not have"
            problems.add("wrong format", file.path, text, _FORMAT)
            continue
        images = _Images(file, problems)
        try:
            sax.parseString(text, images)
        except sax.SAXParseException as error:
            place = f"{file.path}, line {error.getLineNumber()}"
            problems.add("not XML", place, f"not valid XML ({error.getMessage()})", _FORMAT)
            continue
        chosen = images.records
        if file.many_splits:
            subsets = {subset for subset, _ in images.records}
            wanted = split.casefold() if any(subsets) else "" if split == "train" else None
            chosen = [(subset, record) for subset, record in images.records if subset.casefold() == wanted]
        listing.records += [record for _, record in chosen]
        if images.records and not chosen:
            text = f"no image is of subset {split!r}, only {', '.join(map(repr, sorted(subsets)))}"
            problems.add("no such split", file.path, text, "name another split, or name the split's file")
        listing.declare(images.label_names)
    return listing


class _Images(ContentHandler):
    """Collect labels and images while the file is parsed.

    Attributes:
        label_names: The declared labels, without parts of skeletons.
        records: The images, each with its subset, "" for none.
    """

    def __init__(self, file: ExportFile, problems: Problems) -> None:
        super().__init__()
        self.records: list[tuple[str, Record]] = []
        self._file, self._problems = file, problems
        self._path: list[str] = []
        self._declared: dict[str, None] = {}
        self._text: list[str] | None = None
        self._name: str | None = None
        self._is_part = False
        self._open: tuple[str, Record] | None = None
        self._shown: set[str] = set()

    @property
    def label_names(self) -> list[str]:
        return list(self._declared)

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802
        self._at = locator

    def _place(self) -> str:
        return f"{self._file.path}, line {self._at.getLineNumber()}"

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802
        if not self._path and name != "annotations":
            self._problems.add("wrong format", self._place(), f"the file is <{name}>", _FORMAT)
        if self._path == ["annotations"] and name == "track":
            self._problems.add("wrong format", self._place(), "a track: the export is one for video", _FORMAT)
        if self._path == ["annotations"] and name == "image":
            self._open, self._shown = self._image(attrs), set()
        elif self._open is not None and self._path[-1] == "image" and name != "attribute":
            self._add_label(name, attrs)
        elif name == "label":
            self._name, self._is_part = None, False
        self._path.append(name)
        self._text = [] if self._path[-3:] == ["labels", "label", "name"] else None

    def characters(self, content: str) -> None:
        if self._text is not None:
            self._text.append(content)

    def endElement(self, name: str) -> None:  # noqa: N802
        self._path.pop()
        if self._path[-2:] == ["labels", "label"]:
            self._name = "".join(self._text or ()) if name == "name" else self._name
            self._is_part = self._is_part or name == "parent"
        elif name == "label" and self._name is not None and not self._is_part:
            self._declared |= dict.fromkeys(usable_names([self._name], self._place(), self._problems))
        elif name == "image" and self._open is not None:
            self.records.append(self._open)
            self._open = None

    def _image(self, attrs: Any) -> tuple[str, Record] | None:
        name, subset = attrs.get("name", ""), attrs.get("subset", "")
        if not name:
            self._problems.add("no path", self._place(), "the image has no name", _FORMAT)
            return None
        root = self._file.root.absolute()
        roots = dict.fromkeys([root / "images", root / "images" / subset, root])
        return subset, Record(self._place(), name, find_image(name, list(roots)), [])

    def _add_label(self, element: str, attrs: Any) -> None:
        label, record = tidy(attrs.get("label") or ""), self._open[1] if self._open else None
        if record is None or not label:
            self._problems.add("wrong format", self._place(), f"<{element}> has no label", _FORMAT)
        elif label not in self._declared:
            text = f"label {shown(label)} is not declared among {some(self._declared)}"
            self._problems.add("unknown label", self._place(), text, "correct it, or add it to <labels>")
        elif label not in self._shown:
            self._shown.add(label)
            record.labels.append(label)
