"""YOLO: `data.yaml`, folders of images, and a text file of boxes for each image."""

import os
from pathlib import Path
from typing import Any

from sct_hf.data.exports.export_files import ExportFile, export_files
from sct_hf.data.listing import Listing, Record, declared_names
from sct_hf.data.names import kind_of, shown
from sct_hf.data.places import find_image, unread_files
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.signs import begins_with
from sct_hf.data.text_files import read_lines, read_yaml
from sct_hf.files import images_below

_NULL = ("~", "null", "Null", "NULL")
_USUAL = ["data.yaml", "dataset.yaml"]
_OTHER_NAME = {"val": "validation", "validation": "val"}


def _sign(place: Path) -> dict[str, Path] | None:
    """A YAML file with `names`, or a folder with one of the usual name."""
    if place.suffix.lower() in (".yaml", ".yml") and begins_with(place, "names"):
        return {"data_dir": place.parent} if place.name in _USUAL else {"train_file": place}
    return {"data_dir": place} if any((place / name).is_file() for name in _USUAL) else None


@register_reader(
    "yolo",
    title="Own images (YOLO)",
    takes=["files", "data_dir", "label_names"],
    sign=_sign,
    layout="data.yaml or dataset.yaml with names and folders of images",
)
def list_yolo(request: Request, problems: Problems) -> Listing:
    """List a split of a `data.yaml` as Ultralytics reads it: the classes of an image's boxes are its labels.

    The split is a folder, a text file with one path per line, or a list of them, relative to `path` or to the YAML
    file. The boxes of `…/images/a/1.jpg` are in `…/labels/a/1.txt`, or next to the image if no folder is named
    `images`. An image with an empty or missing file shows none of the labels. The labels are all `names`, in order and
    as written: NO is a name, not a boolean.

    Args:
        request: The split, "train", "val" or "test", and the YAML file, or its folder with `data.yaml` or
            `dataset.yaml`.
        problems: Collects the errors.

    Raises:
        InputError: No file is given, or the folder has none.
    """
    found = export_files(request, _USUAL)
    listing = Listing(", ".join(str(file.path) for file in found))
    for file in found:
        before = len(problems.found)
        content = read_yaml(file.path, problems, as_text=True)
        if not isinstance(content, dict):
            if len(problems.found) == before:
                problems.add("wrong format", file.path, "no data.yaml", "write names, and a folder for each split")
            continue
        names = _names(content, file.path, problems)
        if names is None:
            continue
        listing.declare(names)
        for image, path in _images(content, request.split, file, problems, listing):
            boxes = _label_file(path)
            labels = _labels(boxes, names, problems) if os.path.isfile(boxes) else []
            listing.records.append(Record(str(boxes if os.path.isfile(boxes) else path), image, path, labels))
    return listing


def _names(content: dict[Any, Any], file: Path, problems: Problems) -> list[str] | None:
    names, count = content.get("names"), content.get("nc")
    if isinstance(names, dict):
        numbers = {str(key).strip(): key for key in names}
        if len(numbers) != len(names) or set(numbers) != set(map(str, range(len(names)))):
            text = f"names are numbered {', '.join(map(str, list(names)[:10]))}"
            problems.add("wrong names", file, text, f"number them from 0 to {len(names) - 1}")
            return None
        names = [names[numbers[str(index)]] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        problems.add("wrong names", file, "there are no names", "write names: with a list of the classes")
        return None
    if count is not None and (not isinstance(count, str) or count.strip() != str(len(names))):
        text = f"nc is {count if isinstance(count, str) else shown(count)}, but there are {len(names)} names"
        problems.add("wrong names", file, text, "correct one of them")
        return None
    nothing = next((name for name in names if isinstance(name, str) and name in _NULL), None)
    if nothing is not None:
        text = f"a name is {shown(nothing)}, which is nothing in YAML"
        problems.add("wrong names", file, text, "write the name, in quotes if it is such a word")
        return None
    return declared_names(names, f"{file}, names", problems)


def _images(
    content: dict[Any, Any], split: str, file: ExportFile, problems: Problems, listing: Listing
) -> list[tuple[str, Path]]:
    """The images of the split: each as written, or relative to the root, and its path."""
    value = content.get(split) or content.get(_OTHER_NAME.get(split, ""))
    if not value:
        known = ", ".join(key for key in ("train", "val", "test") if content.get(key)) or "none"
        problems.add("no such split", file.path, f"no split {split!r}, only {known}", f"add {split}: with its folder")
        return []
    beside, start = file.root.absolute(), content.get("path")
    root = beside / (start if isinstance(start, str) else "")
    root = root if os.path.isdir(root) else beside
    images = []
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, str):
            problems.add(
                "wrong format", file.path, f"split {split!r} holds {kind_of(entry)}", "write a folder or a file"
            )
            continue
        # As written; with slashes; as Roboflow writes it, from within the folder of the split.
        ways = [entry, entry.replace("\\", "/"), entry.replace("\\", "/").removeprefix("../")]
        place = next((root / way for way in ways if os.path.exists(root / way)), root / ways[-1])
        if os.path.isdir(place):
            images += [(path.as_posix().removeprefix(f"{root.as_posix()}/"), path) for path in images_below(place)]
            if note := unread_files(place):
                listing.notes.append(note)
        elif os.path.isfile(place):
            lines = [line.strip() for line in read_lines(place, problems)]
            images += [(line, _listed(line, place.parent, root)) for line in lines if line]
        else:
            text = f"split {split!r} is {shown(entry)}, but there is no {place}"
            problems.add("no such split", file.path, text, "correct the path, which starts from path: or the file")
    return images


def _listed(line: str, parent: Path, root: Path) -> Path:
    """A path in a list: with ./ it is relative to the list, else to the root of the data set."""
    return find_image(line[2:], [parent]) if line.startswith(("./", ".\\")) else find_image(line, [root])


def _label_file(image: Path) -> Path:
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _labels(file: Path, names: list[str], problems: Problems) -> list[str]:
    labels: dict[str, None] = {}
    for number, line in enumerate(read_lines(file, problems), start=1):
        words = line.split()
        if not words:
            continue
        place = f"{file}, line {number}"
        if len(words) < 5 or not all(map(_is_number, words)):
            problems.add("wrong box", place, shown(line.strip()), "write a class and four numbers, or a polygon")
        elif float(words[0]) not in range(len(names)):
            text = f"class {words[0]}, but the {len(names)} names are numbered from 0 to {len(names) - 1}"
            problems.add("unknown label", place, text, "correct the class, or add its name")
        else:
            labels[names[int(float(words[0]))]] = None
    return list(labels)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
