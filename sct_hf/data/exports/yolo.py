"""YOLO: `data.yaml`, folders of images, and a text file of boxes for each image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sct_hf.data.exports.places import ExportFile, export_files
from sct_hf.data.listing import FileReader, Listing, Record
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_lines, read_text
from sct_hf.files import images_below

_OTHER_NAME = {"val": "validation", "validation": "val"}


def list_yolo(
    split: str,
    problems: Problems,
    *,
    files: str | Path | Sequence[str | Path] | None = None,
    data_dir: str | Path | None = None,
) -> Listing:
    """List a split of a `data.yaml` as Ultralytics reads it: the classes of an image's boxes are its labels.

    The split names a folder, a text file with a path a line, or a list of them, below `path` or beside the YAML file.
    The boxes of `…/images/a/1.jpg` are in `…/labels/a/1.txt`, or beside the image where no folder is named
    `images`. An image without that file, or with an empty one, shows none of the labels. The labels are all
    `names`, in their order.

    Args:
        split: Name of the split: "train", "val", "test".
        problems: Where to add what is wrong.
        files: The YAML file.
        data_dir: Its folder, where it is named `data.yaml` or `dataset.yaml`.

    Raises:
        InputError: No file is named, or the folder has none.
    """
    found = export_files(split, files, data_dir, ["data.yaml", "dataset.yaml"])
    listing = Listing(", ".join(str(file.path) for file in found))
    for file in found:
        content = _read_yaml(file.path, problems)
        if content is None:
            continue
        names = _names(content, file.path, problems)
        if names is None:
            continue
        listing.label_names = list(dict.fromkeys([*(listing.label_names or []), *names]))
        for image, path in _images(content, split, file, problems):
            boxes = _label_file(path)
            labels = _labels(boxes, names, problems) if boxes.is_file() else []
            listing.records.append(Record(str(boxes if boxes.is_file() else path), image, path, labels))
    return listing


read_yolo = FileReader("yolo", list_yolo)


def _read_yaml(file: Path, problems: Problems) -> dict[str, Any] | None:
    text = read_text(file, problems)
    if text is None:
        return None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}, line {mark.line + 1}" if mark else str(file)
        problems.add("not YAML", place, f"not valid YAML ({getattr(error, 'problem', error)})", "correct the line")
        return None
    if isinstance(content, dict):
        return content
    problems.add("wrong format", file, "no data.yaml", "write names, and a folder for each split")
    return None


def _names(content: dict[str, Any], file: Path, problems: Problems) -> list[str] | None:
    names, count = content.get("names"), content.get("nc")
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            text = f"names are numbered {', '.join(map(str, names))}"
            problems.add("wrong names", file, text, f"number them from 0 to {len(names) - 1}")
            return None
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        problems.add("wrong names", file, "there are no names", "write names: with a list of the classes")
        return None
    if count is not None and count != len(names):
        problems.add("wrong names", file, f"nc is {count}, but there are {len(names)} names", "correct one of them")
        return None
    return [str(name) for name in names]


def _images(content: dict[str, Any], split: str, file: ExportFile, problems: Problems) -> list[tuple[str, Path]]:
    """The images of the split, each as written, or as it lies below the root, and its path."""
    value = content.get(split) or content.get(_OTHER_NAME.get(split, ""))
    if not value:
        known = ", ".join(key for key in ("train", "val", "test") if content.get(key)) or "none"
        problems.add("no such split", file.path, f"no split {split!r}, only {known}", f"add {split}: with its folder")
        return []
    beside = file.root.absolute()
    root = beside / (content.get("path") or "")
    root = root if root.is_dir() else beside
    images = []
    for entry in value if isinstance(value, list) else [value]:
        place = root / str(entry)
        if not place.exists():  # as Roboflow writes it, from within the folder of the split
            place = root / str(entry).removeprefix("../")
        if place.is_dir():
            images += [(path.as_posix().removeprefix(f"{root.as_posix()}/"), path) for path in images_below(place)]
        elif place.is_file():
            lines = [line.strip() for line in read_lines(place, problems)]
            images += [(line, _listed(line, place.parent, root)) for line in lines if line]
        else:
            text = f"split {split!r} is {str(entry)!r}, but there is no {place}"
            problems.add("no such split", file.path, text, "correct the path, which starts from path: or the file")
    return images


def _listed(line: str, parent: Path, root: Path) -> Path:
    """A path of a list: one that begins with ./ starts from the list, another from the root of the data set."""
    return parent / line[2:] if line.startswith("./") else root / line


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
            problems.add("wrong box", place, f"{line.strip()!r}", "write a class and four numbers, or a polygon")
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
