"""Label Studio: the export named JSON."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sct_hf.data.exports.places import ExportFile, export_files, first_there
from sct_hf.data.listing import FileReader, Listing, Record
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_json
from sct_hf.files import IMAGE_SUFFIXES

_FORMAT = "export as JSON, not JSON-MIN"
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")


def list_label_studio(
    split: str,
    problems: Problems,
    *,
    files: str | Path | Sequence[str | Path] | None = None,
    data_dir: str | Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Listing:
    """List the tasks of a JSON export: their choices, and the labels of their rectangles and other regions.

    Where several people annotated an image, a label that all of them gave it is present, and one that only some
    gave it is unknown (ours). Annotations that were skipped do not count, and a task without any other is left out.

    An image is looked for below `data_dir` by as much of its address as there are folders for: an upload
    `/data/upload/3/1a2b3c4d-cat.jpg` also as `cat.jpg`, a local file by what follows `?d=`, an URL by its path.

    Args:
        split: Name of the split; without `files`, `<data_dir>/<split>.json` is read.
        problems: Where to add what is wrong.
        files: The exports of the split.
        data_dir: The folder of the images; by default that of the export.
        image_column: Entry of a task's `data` that holds the image; by default the only one that names an image.
        label_column: `name` of the control whose results count (`from_name`); by default all.

    Raises:
        InputError: No file is named, or the folder has none of that name.
    """
    found = export_files(split, files, data_dir, ["{split}.json"])
    listing = Listing(", ".join(str(file.path) for file in found))
    for file in found:
        tasks = read_json(file.path, problems)
        if tasks is None:
            continue
        if not isinstance(tasks, list):
            problems.add("wrong format", file.path, "there is no list of tasks", _FORMAT)
            continue
        left_out = 0
        for number, task in enumerate(tasks, start=1):
            place = f"{file.path}, entry {number}"
            if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or "annotations" not in task:
                problems.add("wrong format", place, "no task with data and annotations", _FORMAT)
                continue
            place += f" (task {task['id']})" if "id" in task else ""
            try:
                chosen = [_labels(one, label_column) for one in task["annotations"] if _finished(one)]
            except (AttributeError, TypeError) as error:
                problems.add("wrong format", place, f"no annotations of Label Studio ({error})", _FORMAT)
                continue
            left_out += not chosen
            address = _address(task["data"], image_column, place, problems)
            if chosen and address is not None:
                sure = set.intersection(*chosen)
                some = set.union(*chosen) - sure
                path = _image(address, file)
                listing.records.append(Record(place, address, path, sorted(sure), sorted(some)))
        if left_out:
            listing.notes.append(f"{file.path}: {left_out} tasks without a finished annotation are left out")
    return listing


read_label_studio = FileReader("labelstudio", list_label_studio)


def _finished(annotation: dict[str, Any]) -> bool:
    return not annotation.get("was_cancelled") and not annotation.get("skipped")


def _labels(annotation: dict[str, Any], control: str | None) -> set[str]:
    """Choices and region labels; texts, numbers and ratings are none."""
    labels: set[str] = set()
    for result in annotation.get("result") or []:
        kind = str(result.get("type"))
        if (control is None or result.get("from_name") == control) and (kind == "choices" or kind.endswith("labels")):
            labels.update(result.get("value", {}).get(kind, []))
    return labels


def _address(data: dict[str, Any], column: str | None, place: str, problems: Problems) -> str | None:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if column is not None:
        found = [texts[column]] if column in texts else []
    else:
        found = [value for value in texts.values() if Path(_parts(value)[-1]).suffix.lower() in IMAGE_SUFFIXES]
    if len(found) == 1:
        return found[0]
    entries = ", ".join(map(repr, data))
    text = f"{len(found)} images among {entries}" if column is None else f"no entry {column!r} among {entries}"
    problems.add("no path", place, text, "name the entry that holds the image by image_column")
    return None


def _image(address: str, file: ExportFile) -> Path:
    """The place below the root by the longest tail of the address, else by the name it had before it was uploaded."""
    parts, root = _parts(address), file.root.absolute()
    names = [parts[-1], _UPLOAD_PREFIX.sub("", parts[-1])]
    tails = [root.joinpath(*parts[start:]) for start in range(len(parts))]
    return first_there([*tails, *(root / "images" / name for name in names), root / names[1]], root / parts[-1])


def _parts(address: str) -> list[str]:
    """The folders and the name in an address; of a local file's URL those that follow ?d=."""
    url = urlsplit(address)
    local = parse_qs(url.query).get("d")
    path = local[-1] if local else unquote(url.path)
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")] or [address or "?"]
