"""Label Studio: the export named JSON."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sct_hf.data.exports.export_files import ExportFile, export_files
from sct_hf.data.listing import Listing, Record, usable_names
from sct_hf.data.names import kind_of, shown
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.signs import begins_with, one_file
from sct_hf.data.text_files import read_json
from sct_hf.files import IMAGE_SUFFIXES

_FORMAT = "export as JSON, not JSON-MIN"
_DEEPEST = 50  # folders of an address that are looked for
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")


def _sign(place: Path) -> dict[str, Path] | None:
    """A JSON list of tasks, or a folder with that of "train" or with a single one."""
    if place.is_dir():
        train, only = place / "train.json", one_file(place, "*.json")
        if _is_export(train):
            return {"data_dir": place}
        return {"train_file": only, "data_dir": place} if only and _is_export(only) else None
    return {"train_file": place} if _is_export(place) else None


def _is_export(file: Path) -> bool:
    return file.suffix.lower() == ".json" and begins_with(file, "[", '"annotations"', '"data"')


@register_reader(
    "labelstudio",
    title="Own images (Label Studio)",
    takes=["files", "data_dir", "image_column", "label_column", "label_names"],
    sign=_sign,
    layout="train.json or one JSON file, exported as JSON",
)
def list_label_studio(request: Request, problems: Problems) -> Listing:
    """List the tasks of a JSON export: their choices, and the labels of their rectangles and other regions.

    If several people annotated an image, a label that all of them gave is present, and one that only some gave is
    unknown. Skipped annotations do not count; a task with only skipped ones is left out.

    An image is found below `data_dir` by the longest matching end of its address: an upload
    `/data/upload/3/1a2b3c4d-cat.jpg` also as `cat.jpg`, a local file by the part after `?d=`, a URL by its path.

    Args:
        request: The split, and its exports or `data_dir` with `<data_dir>/<split>.json`. `data_dir` is the folder of
            the images, by default that of the export. `image_column` is the entry of a task's `data` with the image,
            by default the only one that names an image. `label_column` is the `name` of the control whose results
            count (`from_name`), by default all.
        problems: Collects the errors, including results of taxonomies, which are trees and not labels.

    Raises:
        InputError: No file is given, or the folder has none with this name.
    """
    found = export_files(request, ["{split}.json"])
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
            place += f" (task {shown(task['id'])})" if "id" in task else ""
            try:
                finished = [one for one in task["annotations"] if _finished(one)]
                chosen = [_labels(one, request.label_column, place, problems) for one in finished]
            except (AttributeError, TypeError) as error:
                problems.add("wrong format", place, f"no annotations of Label Studio ({error})", _FORMAT)
                continue
            left_out += not chosen
            address = _address(task["data"], request.image_column, place, problems)
            if chosen and address is not None:
                sure = set.intersection(*chosen)
                some = set.union(*chosen) - sure
                path = _image(address, file)
                listing.records.append(Record(place, address, path, sorted(sure), sorted(some)))
        if left_out:
            listing.notes.append(f"{file.path}: {left_out} tasks without a finished annotation are left out")
    return listing


def _finished(annotation: dict[str, Any]) -> bool:
    return not annotation.get("was_cancelled") and not annotation.get("skipped")


def _labels(annotation: dict[str, Any], control: str | None, place: str, problems: Problems) -> set[str]:
    """Choices and region labels; texts, numbers and ratings are ignored."""
    labels: set[str] = set()
    for result in annotation.get("result") or []:
        kind = str(result.get("type"))
        if control is not None and result.get("from_name") != control:
            continue
        if kind == "taxonomy":
            text = f"the results of {shown(result.get('from_name'))} are a taxonomy, which is not read"
            remedy = "name the control of the choices by label_column, or make the taxonomy choices in Label Studio"
            problems.add("taxonomy", place, text, remedy)
        elif kind == "choices" or kind.endswith("labels"):
            found = result.get("value", {}).get(kind, [])
            if isinstance(found, list):
                labels.update(usable_names(found, place, problems))
            else:
                problems.add("wrong labels", place, f"{kind} is {shown(found)}, {kind_of(found)}", _FORMAT)
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
    """The file below the root with the longest matching end of the address, else with the name before the upload."""
    parts, root = _parts(address), file.root.absolute()
    names = [parts[-1], _UPLOAD_PREFIX.sub("", parts[-1])]
    tails = [root.joinpath(*parts[start:]) for start in range(len(parts))]
    candidates = [*tails, *(root / "images" / name for name in names), root / names[1]]
    return next((path for path in candidates if os.path.isfile(path)), root / parts[-1])


def _parts(address: str) -> list[str]:
    """The folders and the name in an address; in a local file's URL those after ?d=."""
    try:
        url = urlsplit(address)
        local = parse_qs(url.query).get("d")
        path = local[-1] if local else unquote(url.path)
    except ValueError:  # no address, whatever it looks like
        path = address
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return parts[-_DEEPEST:] or [address or "?"]
