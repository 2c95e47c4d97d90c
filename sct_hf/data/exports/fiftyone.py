"""FiftyOne: `FiftyOneImageClassificationDataset` (or …DetectionDataset) and `FiftyOneDataset` exports."""

from pathlib import Path, PureWindowsPath
from typing import Any

from sct_hf.data.exports.export_files import ExportFile, export_files
from sct_hf.data.folder import SPLITS
from sct_hf.data.listing import Listing, Record, declared_names, usable_names
from sct_hf.data.names import shown, tidy
from sct_hf.data.places import find_image, unread_files
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.signs import ends_of
from sct_hf.data.text_files import read_json
from sct_hf.files import images_below

_LISTS = {"Classifications": "classifications", "Detections": "detections", "Polylines": "polylines"}
_SINGLE = ("Classification", "Detection", "Polyline")
_USUAL = ["{split}/labels.json", "{split}/samples.json", "samples.json"]
_FORMAT = "export as FiftyOneImageClassificationDataset or FiftyOneDataset"


def _sign(place: Path) -> dict[str, Path] | None:
    """`labels.json` of labels beside a folder `data`, `samples.json`, or a folder with one of them."""
    if place.name == "samples.json" or (
        place.name == "labels.json" and (place.parent / "data").is_dir() and _has_labels(place)
    ):
        return {"train_file": place}
    if (place / "data").is_dir() and _has_labels(place / "labels.json"):
        return {"train_file": place / "labels.json"}
    usual = (place / name.format(split="train") for name in _USUAL)
    found = any(_has_labels(file) if file.name == "labels.json" else file.is_file() for file in usual)
    return {"data_dir": place} if found else None


def _has_labels(file: Path) -> bool:
    """Whether a file has labels; FiftyOne writes the format of COCO to the same place."""
    return b'"labels"' in ends_of(file)


@register_reader(
    "fiftyone",
    title="Own images (FiftyOne)",
    takes=["files", "data_dir", "label_column", "label_names"],
    sign=_sign,
    layout="labels.json beside data/, or samples.json",
)
def list_fiftyone(request: Request, problems: Problems) -> Listing:
    """List `labels.json` of a classification or detection export, or `samples.json` of a data set.

    `labels.json` names images in its folder `data` by their paths without ending, or by absolute paths. Each has a
    label, a list of labels or none, by name or by index into `classes`. `samples.json` has fields of labels. If a file
    may have several splits, the samples with the split's name among their tags are listed. If no sample has the tag of
    a usual split, all are "train".

    Args:
        request: The split and its exports, or the folder of the export. In a folder, `<data_dir>/<split>/labels.json`,
            `<data_dir>/<split>/samples.json` or `<data_dir>/samples.json` is read. `label_column` is the field of the
            labels in `samples.json`, by default the only one.
        problems: Collects the errors.

    Raises:
        InputError: No file is given, or the folder has none.
    """
    found = export_files(request, _USUAL)
    listing = Listing(", ".join(str(file.path) for file in found))
    for file in found:
        content = read_json(file.path, problems)
        if content is None:
            continue
        try:
            if "labels" in content:
                _add_labels(listing, file, content, problems)
            else:
                _add_samples(listing, file, request.split, content["samples"], request.label_column, problems)
        except (AttributeError, KeyError, TypeError) as error:
            text = f"not an export of FiftyOne ({type(error).__name__}: {str(error)[:80]})"
            problems.add("wrong format", file.path, text, _FORMAT)
    return listing


def _add_labels(listing: Listing, file: ExportFile, content: dict[str, Any], problems: Problems) -> None:
    classes: list[str] | None = None
    if content.get("classes") is not None:
        classes = declared_names(content["classes"], f"{file.path}, classes", problems)
        if classes is None:
            return
        listing.declare(classes)
    numbers = {name: number for number, name in enumerate(classes or [])}
    data = file.root.absolute() / "data"
    path_of = {path.relative_to(data).with_suffix("").as_posix(): path for path in images_below(data)}
    for key, value in content["labels"].items():
        place = f"{file.path}, entry {shown(key)}"
        values = value if isinstance(value, list) else [] if value is None else [value]
        labels = [name for one in values for name in _name(one, classes, numbers, place, problems)]
        known = path_of.get(PureWindowsPath(key).as_posix())
        path = known if known is not None and not Path(key).is_absolute() else find_image(key, [data])
        listing.records.append(Record(place, key, path, list(dict.fromkeys(labels))))
    if note := unread_files(data):
        listing.notes.append(note)


def _name(value: Any, classes: list[str] | None, numbers: dict[str, int], place: str, problems: Problems) -> list[str]:
    """The label's name, from a name, an index into the classes, or an object with one of them as `label`."""
    label = value.get("label") if isinstance(value, dict) else value
    if classes is None and not isinstance(label, int):
        return usable_names([label], place, problems)
    if isinstance(label, int) and not isinstance(label, bool) and classes is not None and 0 <= label < len(classes):
        return [classes[label]]
    if isinstance(label, str) and classes is not None and tidy(label) in numbers:
        return [tidy(label)]
    of = f"the {len(classes)} classes" if classes is not None else "no classes"
    problems.add("unknown label", place, f"label {shown(label)}, where the file declares {of}", _FORMAT)
    return []


def _add_samples(
    listing: Listing, file: ExportFile, split: str, samples: list[Any], field: str | None, problems: Problems
) -> None:
    tags = {tag for sample in samples for tag in sample.get("tags") or []}
    tagged = file.many_splits and (split != "train" or bool(tags & SPLITS))
    fields = [field] if field else sorted({name for sample in samples for name in sample if _is_label(sample[name])})
    if len(fields) != 1:
        text = f"the samples have {len(fields)} fields of labels{': ' * bool(fields)}{', '.join(fields)}"
        problems.add("no such column", file.path, text, "name one by label_column")
        return
    for number, sample in enumerate(samples, start=1):
        if tagged and split not in (sample.get("tags") or []):
            continue
        place = f"{file.path}, entry {number}"
        written = str(sample.get("filepath", ""))
        if not written:
            problems.add("no path", place, "the sample has no filepath", _FORMAT)
            continue
        value = sample.get(fields[0]) or {}
        many = _LISTS.get(value.get("_cls", ""))
        found = [one.get("label") for one in (value.get(many) or [] if many else [value] if value else [])]
        labels = usable_names(found, place, problems)
        listing.records.append(Record(place, written, find_image(written, [file.root.absolute()]), labels))
    if tagged and not listing.records:
        text = f"no sample has the tag {split!r}; tags are {', '.join(map(repr, sorted(tags))) or 'none'}"
        problems.add("no such split", file.path, text, "tag the samples of the split, or name the split's file")


def _is_label(value: Any) -> bool:
    return isinstance(value, dict) and value.get("_cls") in (*_LISTS, *_SINGLE)
