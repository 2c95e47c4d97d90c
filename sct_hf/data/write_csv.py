"""Write labelled images as a CSV file that the CSV reader reads back."""

import csv
import json
import os
from pathlib import Path

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.errors import InputError
from sct_hf.escaping import csv_cell
from sct_hf.files import atomic_write


def write_csv(images: LabelledImages, path: str | Path) -> None:
    """Write one row per image: its path, and its present and unknown labels as JSON lists.

    A path below the folder of the file is relative to it, any other absolute. A path that a spreadsheet would read as
    a formula begins with "./".

    Args:
        images: The images; each has a file.
        path: The file to write.

    Raises:
        InputError: An image has no file, as in a data set that stores bytes.
        OSError: The file cannot be written.
    """
    folder = Path(os.path.abspath(path)).parent
    rows = []
    for index, marks in enumerate(images.marks):
        file = images.encoded(index)["path"]
        if file is None or not os.path.isfile(file):
            raise InputError(
                f"image {images.image_ids[index]!r} of data set {images.name!r} has no file that a CSV file could "
                "name: save the images as files first"
            )
        place = Path(os.path.abspath(file))
        cell = str(place.relative_to(folder) if place.is_relative_to(folder) else place)
        cell = cell if csv_cell(cell) == cell else os.path.join(os.curdir, cell)
        lists = ([images.label_names[column] for column in np.flatnonzero(marks == mark)] for mark in (1, -1))
        rows.append([cell, *map(json.dumps, lists)])
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "labels", "unknown"])
        writer.writerows(rows)
