"""MS-COCO, and any data set in its instances format."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sct_hf.data.boxes import BoxedImage, checked_numbers, image_size
from sct_hf.data.exports.export_files import ExportFile, export_files
from sct_hf.data.listing import Listing, Record, declared_names
from sct_hf.data.names import kind_of, shown
from sct_hf.data.places import distinct_ids, find_image
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.signs import ends_of, one_file
from sct_hf.data.text_files import read_json

_PREFIX = "instances_"
_USUAL = ["annotations/instances_{split}.json", "{split}/_annotations.coco.json", "{split}/labels.json"]
_FORMAT = (
    "the instances format has images (id, file_name), annotations (image_id, category_id) and categories (id, name)"
)
_BOX = "give bbox as left, top, width, height in pixels"


def _sign(place: Path) -> dict[str, Path | str] | None:
    """`annotations/instances_*.json`, a file of instances in `train/` or alone in the folder, or such a file."""
    if not place.is_dir():
        return {"train_file": place} if _is_instances(place) else None
    if any(_is_instances(place / name.format(split="train")) for name in _USUAL[1:]):
        return {"data_dir": place}
    splits = _splits(place)
    if not splits:
        only = one_file(place, "*.json")
        return {"train_file": only, "data_dir": place} if only and _is_instances(only) else None
    of_kind = [[split for split in splits if split.startswith(kind)] for kind in ("train", "val")]
    names = {name: found[-1] for name, found in zip(("train_split", "eval_split"), of_kind, strict=True) if found}
    return {"data_dir": place} | ({"train_split": splits[0]} if len(splits) == 1 else names)


def _is_instances(file: Path) -> bool:
    """Whether a JSON file has images and categories at one of its ends, as the large lists between them allow."""
    ends = ends_of(file) if file.suffix.lower() == ".json" else b""
    images, categories = (b'"images"', b'"file_name"'), (b'"categories"', b'"category_id"')
    return ends.startswith(b"{") and all(any(word in ends for word in words) for words in (images, categories))


def _splits(root: Path) -> list[str]:
    return sorted(path.stem.removeprefix(_PREFIX) for path in root.glob(f"annotations/{_PREFIX}*.json"))


def coco_boxes(request: Request, problems: Problems) -> dict[str, BoxedImage]:
    """Read the boxes of a split, with the sizes of its images; arguments as in `list_coco`.

    An empty box, of which MS-COCO has a few, is left out.
    """
    found: dict[str, BoxedImage] = {}
    for file in _files(request):
        content = _read(file.path, problems)
        labels_of = {} if content is None else _labels(content, Listing(""), problems)
        if content is not None and not problems.found:
            found |= _boxes(content, _ids(content, labels_of), problems)
    return found


def _boxes(content: "_Content", ids: dict[Any, str], problems: Problems) -> dict[str, BoxedImage]:
    found: dict[Any, BoxedImage] = {}
    for key in ids:
        _, place, entry = content.images[key]
        size = image_size(entry.get("width"), entry.get("height"), place, "add its width and height", problems)
        if size is not None:
            found[key] = BoxedImage(size)
    for number, key, category, entry in content.objects:
        if key in found:
            place = f"{content.file}, annotation {number}"
            numbers = checked_numbers(entry.get("bbox"), 4, "bbox", place, _BOX, problems)
            if numbers is not None:
                left, top, width, height = numbers
                name = content.label_names[category]
                found[key].add(name, (left, top, left + width, top + height), hard=bool(entry.get("iscrowd")))
    return {ids[key]: image for key, image in found.items()}


@register_reader(
    "coco",
    title="COCO",
    takes=["files", "data_dir"],
    published=True,
    sign=_sign,
    layout="annotations/instances_*.json, _annotations.coco.json, or one JSON file with images and categories",
    boxer=coco_boxes,
)
def list_coco(request: Request, problems: Problems) -> Listing:
    """List instances files: those given, or that of a split in the official layout, Roboflow's or FiftyOne's.

    Official: images in `<split>/`, boxes in `annotations/instances_<split>.json`. Roboflow: both in `<split>/`, the
    boxes in `_annotations.coco.json`. FiftyOne: boxes in `<split>/labels.json`, images in `<split>/data/`. A
    `file_name` is relative to the folder of the split or of the file, `data_dir`, or `images/` or `data/` in them.

    A label is present if the image has at least one object of it, crowds included. Images without any object are
    dropped, as in the literature. The labels are all categories of the file in the order of their ids (80 in MS-COCO),
    so every split has the same columns. A category that is only the supercategory of others, without an annotation, is
    no label: Roboflow adds one.

    Args:
        request: The split, "train2014", "val2017", or any other, and its files or `data_dir`.
        problems: Collects the errors.

    Raises:
        InputError: Neither files nor a folder are given, or the split does not exist.
    """
    found = _files(request)
    listing = Listing(", ".join(str(file.path) for file in found))
    for file in found:
        _add(file.path, request.data_dir, listing, problems)
    return listing


def _files(request: Request) -> list[ExportFile]:
    data_dir = request.data_dir
    if request.files is None and data_dir is not None and (known := _splits(data_dir)) and request.split not in known:
        raise SplitError(
            request.split,
            f"there is no {data_dir / _USUAL[0].format(split=request.split)}; splits found in data_dir "
            f"{str(data_dir)!r}: {', '.join(known)}",
        )
    return export_files(request, _USUAL)


def _add(file: Path, data_dir: Path | None, listing: Listing, problems: Problems) -> None:
    content = _read(file, problems)
    if content is None or not content.label_names:
        return
    listing.declare(content.label_names.values())
    labels_of = _labels(content, listing, problems)
    ids, roots = _ids(content, labels_of), _roots(file, data_dir)
    for key, image_id in ids.items():
        name, place, _ = content.images[key]
        listing.records.append(Record(place, image_id, find_image(name, roots), labels_of[key]))
    if left_out := len(content.images) - len(ids):
        listing.notes.append(f"{file}: {left_out} images without an object are left out")


def _ids(content: "_Content", labels_of: dict[Any, list[str]]) -> dict[Any, str]:
    """The ids in the data set of the images with a label, by their ids in the file."""
    keys = [key for key in content.images if key in labels_of]
    return dict(zip(keys, distinct_ids([content.images[key][0] for key in keys]), strict=True))


def _roots(file: Path, data_dir: Path | None) -> list[Path]:
    """Folders that a `file_name` may start from."""
    folder = file.absolute().parent
    root = data_dir.absolute() if data_dir is not None else folder.parent if folder.name == "annotations" else folder
    split = file.stem.removeprefix(_PREFIX)
    first = root / split if file.stem.startswith(_PREFIX) else folder if folder.is_relative_to(root) else root
    inner = [root / "images" / split, root / "images", root / "data", folder, folder / "data"]
    return list(dict.fromkeys([first, root, *inner]))


@dataclass
class _Content:
    """An instances file.

    Attributes:
        file: The file.
        label_names: Labels by id of their category.
        images: By id in the file, an image's file name, place in the file, and entry.
        objects: The number of an annotation, the ids of its image and category, and its entry.
    """

    file: Path
    label_names: dict[Any, str] = field(default_factory=dict)
    images: dict[Any, tuple[str, str, dict[str, Any]]] = field(default_factory=dict)
    objects: list[tuple[int, Any, Any, dict[str, Any]]] = field(default_factory=list)


def _read(file: Path, problems: Problems) -> _Content | None:
    before = len(problems.found)
    read = read_json(file, problems)
    if read is None:
        return None
    if not isinstance(read, dict) or not all(isinstance(read.get(key), list) for key in _KEYS):
        problems.add("wrong format", file, "the file is not in the instances format of COCO", _FORMAT)
        return None
    content = _Content(file)
    for place, entry in _entries(file, read, "images", {"id": (int, str), "file_name": str}, problems):
        if entry["id"] in content.images:
            text = f"id {shown(entry['id'])} is already used at {content.images[entry['id']][1]}"
            problems.add("id given twice", place, text, "give each image a unique id")
        content.images.setdefault(entry["id"], (entry["file_name"], place, entry))
    categories = list(_entries(file, read, "categories", {"id": (int, str)}, problems))
    keys = [entry["id"] for _, entry in categories]
    if len({type(key) for key in keys}) > 1 or len(set(keys)) < len(keys):
        text = "ids of categories mix numbers and text, or repeat"
        problems.add("wrong ids", f"{file}, categories", text, "give each category a unique number")
        return None
    categories.sort(key=lambda pair: pair[1]["id"])
    names = declared_names((entry.get("name") for _, entry in categories), f"{file}, categories", problems)
    for number, entry in enumerate(read["annotations"], start=1):
        if isinstance(entry, dict) and {"image_id", "category_id"} <= entry.keys():
            content.objects.append((number, entry["image_id"], entry["category_id"], entry))
        else:
            text = f"{kind_of(entry)} without image_id and category_id"
            problems.add("wrong format", f"{file}, annotation {number}", text, _FORMAT)
    if names is None or len(problems.found) > before:
        return None
    above = [(entry.get("supercategory"), entry["name"]) for _, entry in categories]
    parents = {parent for parent, name in above if isinstance(parent, str) and parent != name}
    used = {category for _, _, category, _ in content.objects if isinstance(category, int | str)}
    named = zip((entry["id"] for _, entry in categories), names, strict=True)
    content.label_names = {key: name for key, name in named if name not in parents or key in used}
    return content


_KEYS = ("images", "annotations", "categories")


def _entries(
    file: Path, read: dict[str, Any], key: str, kinds: dict[str, Any], problems: Problems
) -> Iterable[tuple[str, dict[str, Any]]]:
    """Entries of a list with their places; an entry without the required fields is a problem."""
    for number, entry in enumerate(read[key], start=1):
        place = f"{file}, {key} {number}"
        if isinstance(entry, dict) and all(
            isinstance(entry.get(name), kind) and not isinstance(entry.get(name), bool) for name, kind in kinds.items()
        ):
            yield place, entry
        else:
            text = f"{kind_of(entry)} without a usable {' or '.join(kinds)}"
            problems.add("wrong format", place, text, _FORMAT)


def _labels(content: _Content, listing: Listing, problems: Problems) -> dict[Any, list[str]]:
    """Labels by image id; annotations of unlisted images and categories without annotations are noted."""
    found: dict[Any, dict[str, None]] = {}
    strange: list[Any] = []
    for number, image, category, _ in content.objects:
        try:
            name, is_listed = content.label_names.get(category), image in content.images
        except TypeError:
            name, is_listed = None, True
        if name is None:
            text = f"category_id {shown(category)} is none of the {len(content.label_names)} categories"
            problems.add(
                "unknown label", f"{content.file}, annotation {number}", text, "correct it, or add the category"
            )
        elif not is_listed:
            strange.append(image)
        else:
            found.setdefault(image, {})[name] = None
    if strange and len(strange) == len(content.objects):
        kinds = " and ".join(sorted({kind_of(key) if not isinstance(key, str) else "text" for key in content.images}))
        text = (
            f"no annotation is of a listed image: image_id is {shown(strange[0])}, ids of images are {kinds}, such as "
            f"{shown(next(iter(content.images), None))}"
        )
        problems.add("wrong ids", content.file, text, "write the ids of images and image_id in the same form")
    elif strange:
        listing.notes.append(
            f"{content.file}: {len(strange)} annotations are of images that the file does not list, such as image_id "
            f"{shown(strange[0])}, and are left out"
        )
    return {image: list(names) for image, names in found.items()}
