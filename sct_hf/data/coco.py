"""MS-COCO, and any data set in its instances format."""

import json
from pathlib import Path
from typing import Any

from sct_hf.data.base import LabelledImages
from sct_hf.data.rows import Row, labelled_images
from sct_hf.errors import InputError


def read_coco(split: str, *, data_dir: str | Path, skip_missing_images: bool = False) -> LabelledImages:
    """Read one split in the official layout: images in `<split>/`, boxes in `annotations/instances_<split>.json`.

    A label is present where the image has at least one object of it, crowds included. Images without any object
    are dropped, as in the literature. The labels are all categories of the file in the order of their ids (80 in
    MS-COCO), so every split has the same columns.

    Args:
        split: "train2014", "val2014", "train2017", "val2017", or whatever the annotations folder has.
        data_dir: The folder that holds `annotations` and the folders of images.
        skip_missing_images: Leave out images whose file is missing or broken instead of raising.

    Raises:
        InputError: No such split, a file that is not in the instances format, missing or broken images.
    """
    root = Path(data_dir).absolute()
    file = root / "annotations" / f"instances_{split}.json"
    if not file.is_file():
        known = sorted(path.stem.removeprefix("instances_") for path in file.parent.glob("instances_*.json"))
        raise InputError(
            f"split is {split!r}, but there is no {file}; splits found in data_dir {str(data_dir)!r}: "
            f"{', '.join(known) or 'none'}"
        )
    instances = _load(file)
    try:
        categories = sorted(instances["categories"], key=lambda category: category["id"])
        column_of = {category["id"]: column for column, category in enumerate(categories)}
        labels_of: dict[Any, set[int]] = {}
        for annotation in instances["annotations"]:
            labels_of.setdefault(annotation["image_id"], set()).add(column_of[annotation["category_id"]])
        rows = [
            Row(Path(image["file_name"]).stem, root / split / image["file_name"], labels_of[image["id"]])
            for image in instances["images"]
            if image["id"] in labels_of
        ]
        names = [category["name"] for category in categories]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not in the instances format of COCO: {type(error).__name__} {error}; it needs images (id, "
            "file_name), annotations (image_id, category_id of a listed category) and categories (id, name)"
        ) from error
    return labelled_images(rows, names, name="coco", split=split, skip_missing_images=skip_missing_images)


def _load(file: Path) -> dict[str, Any]:
    try:
        with open(file, "rb") as stream:
            return json.load(stream)
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON: {error}; fetch it again") from error
