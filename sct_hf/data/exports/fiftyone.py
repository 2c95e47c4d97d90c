"""FiftyOne: `FiftyOneImageClassificationDataset` (or …DetectionDataset) and `FiftyOneDataset` exports."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sct_hf.data.exports.places import ExportFile, export_files
from sct_hf.data.folder import SPLITS
from sct_hf.data.listing import FileReader, Listing, Record
from sct_hf.data.problems import Problems
from sct_hf.data.text_files import read_json
from sct_hf.files import images_below

_LISTS = {"Classifications": "classifications", "Detections": "detections", "Polylines": "polylines"}
_SINGLE = ("Classification", "Detection", "Polyline")
_FORMAT = "export as FiftyOneImageClassificationDataset or FiftyOneDataset"


def list_fiftyone(
    split: str,
    problems: Problems,
    *,
    files: str | Path | Sequence[str | Path] | None = None,
    data_dir: str | Path | None = None,
    label_column: str | None = None,
) -> Listing:
    """List `labels.json` of a classification or detection export, or `samples.json` of a whole data set.

    `labels.json` names images in the folder `data` beside it by their paths without ending, or by whole paths, and
    gives each a label, a list of labels or nothing, by name or by index into its `classes`. `samples.json` has fields
    of labels; of a file that may hold several splits, the samples that have the split's name among their tags are
    listed, or all as "train" where no sample has the tag of a usual split.

    Args:
        split: Name of the split; without `files`, `<data_dir>/<split>/labels.json`, `<data_dir>/<split>/samples.json`
            or `<data_dir>/samples.json` is read.
        problems: Where to add what is wrong.
        files: The exports of the split.
        data_dir: Folder of the export.
        label_column: Field of the labels in `samples.json`; by default the only one there is.

    Raises:
        InputError: No file is named, or the folder has none.
    """
    usual = ["{split}/labels.json", "{split}/samples.json", "samples.json"]
    found = export_files(split, files, data_dir, usual)
    listing = Listing(", ".join(str(file.path) for file in found))
    for file in found:
        content = read_json(file.path, problems)
        if content is None:
            continue
        try:
            if "labels" in content:
                _add_labels(listing, file, content, problems)
            else:
                _add_samples(listing, file, split, content["samples"], label_column, problems)
        except (AttributeError, KeyError, TypeError) as error:
            text = f"not an export of FiftyOne ({type(error).__name__}: {error})"
            problems.add("wrong format", file.path, text, _FORMAT)
    return listing


read_fiftyone = FileReader("fiftyone", list_fiftyone)


def _add_labels(listing: Listing, file: ExportFile, content: dict[str, Any], problems: Problems) -> None:
    classes: list[str] | None = content.get("classes")
    data = file.root.absolute() / "data"
    path_of = {path.relative_to(data).with_suffix("").as_posix(): path for path in images_below(data)}
    for key, value in content["labels"].items():
        place = f"{file.path}, entry {key!r}"
        values = value if isinstance(value, list) else [] if value is None else [value]
        labels = [_name(one, classes, place, problems) for one in values]
        path = Path(key) if Path(key).is_absolute() else path_of.get(Path(key).as_posix(), data / key)
        listing.records.append(Record(place, key, path, _distinct(labels)))
    if classes is not None:
        listing.label_names = list(dict.fromkeys([*(listing.label_names or []), *classes]))


def _name(value: Any, classes: list[str] | None, place: str, problems: Problems) -> str | None:
    """The name behind a name, an index into the classes, or an object that has one of them as `label`."""
    label = value.get("label") if isinstance(value, dict) else value
    if isinstance(label, int) and not isinstance(label, bool) and classes is not None and 0 <= label < len(classes):
        return classes[label]
    if isinstance(label, str) and (classes is None or label in classes):
        return label
    of = f"the {len(classes)} classes" if classes is not None else "no classes"
    problems.add("unknown label", place, f"label {label!r}, where the file declares {of}", _FORMAT)
    return None


def _add_samples(
    listing: Listing, file: ExportFile, split: str, samples: list[Any], field: str | None, problems: Problems
) -> None:
    tags = {tag for sample in samples for tag in sample.get("tags") or []}
    tagged = file.whole and (split != "train" or bool(tags & SPLITS))
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
        labels = [one.get("label") for one in (value.get(many) or [] if many else [value] if value else [])]
        listing.records.append(Record(place, written, file.root.absolute() / written, _distinct(labels)))
    if tagged and not listing.records:
        text = f"no sample has the tag {split!r}; tags are {', '.join(map(repr, sorted(tags))) or 'none'}"
        problems.add("no such split", file.path, text, "tag the samples of the split, or name the split's file")


def _is_label(value: Any) -> bool:
    return isinstance(value, dict) and value.get("_cls") in (*_LISTS, *_SINGLE)


def _distinct(labels: list[str | None]) -> list[str]:
    return list(dict.fromkeys(label for label in labels if label is not None))
