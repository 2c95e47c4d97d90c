"""NUS-WIDE as its archives unpack, with the labels of zero-shot tagging: user tags and judged concepts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.data.rows import Row, labelled_images
from sct_hf.errors import InputError

NUS_CONCEPTS: list[str] = (
    "airport animal beach bear birds boats book bridge buildings cars castle cat cityscape clouds computer coral cow "
    "dancing dog earthquake elk fire fish flags flowers food fox frost garden glacier grass harbor horses house lake "
    "leaf map military moon mountain nighttime ocean person plane plants police protest railroad rainbow reflection "
    "road rocks running sand sign sky snow soccer sports statue street sun sunset surf swimmers tattoo temple tiger "
    "tower town toy train tree valley vehicle water waterfall wedding whales window zebra"
).split()
"""The 81 concepts that people judged, in the order of `ConceptsList/Concepts81.txt`."""

_SPLITS = {"train": "Train", "test": "Test"}


def read_nus_wide(split: str, *, data_dir: str | Path, skip_missing_images: bool = False) -> LabelledImages:
    """Read one split of NUS-WIDE (Chua et al., CIVR 2009) with the labels of zero-shot tagging.

    Labels are the user tags of `TagList1k.txt` that are no concept, 925 of them, and then the 81 concepts: the
    seen and unseen labels of Fast0Tag (Zhang et al., CVPR 2016) and later work, `--unseen_labels nus81`. A user tag
    that is missing counts as absent, as there.

    Args:
        split: "train" (161,789 listed images) or "test" (107,859).
        data_dir: Folder with `ImageList/`, `ConceptsList/Concepts81.txt`, `Groundtruth/TrainTestLabels/`,
            `NUS_WID_Tags/` and the images in `Flickr/`, as the archives unpack.
        skip_missing_images: Leave out images whose file is missing or broken instead of raising; many are no longer
            to be had.

    Raises:
        InputError: No such split or file, a file of another length than the list of images, or one that holds
            something else than 0 and 1; missing or broken images.
    """
    if split not in _SPLITS:
        raise InputError(f"split is {split!r}, but NUS-WIDE has train and test")
    root, part = Path(data_dir).absolute(), _SPLITS[split]
    paths = [line.replace("\\", "/") for line in _lines(root / "ImageList" / f"{part}Imagelist.txt")]
    concepts = _lines(root / "ConceptsList" / "Concepts81.txt")
    tags = _lines(root / "NUS_WID_Tags" / "TagList1k.txt")
    names = [tag for tag in tags if tag not in set(concepts)] + concepts
    column_of = {name: column for column, name in enumerate(names)}
    present: list[list[int]] = [[] for _ in paths]
    tag_columns = np.array([-1 if tag in set(concepts) else column_of[tag] for tag in tags])
    for row, marks in enumerate(_matrix(root / "NUS_WID_Tags" / f"{part}_Tags1k.dat", len(paths), len(tags))):
        columns = tag_columns[marks]
        present[row] += columns[columns >= 0].tolist()
    for concept in concepts:
        file = root / "Groundtruth" / "TrainTestLabels" / f"Labels_{concept}_{part}.txt"
        for row, marks in enumerate(_matrix(file, len(paths), 1)):
            if marks[0]:
                present[row].append(column_of[concept])
    rows = [
        Row(path.removesuffix(".jpg"), root / "Flickr" / path, labels)
        for path, labels in zip(paths, present, strict=True)
    ]
    return labelled_images(rows, names, name="nuswide", split=split, skip_missing_images=skip_missing_images)


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise InputError(f"data_dir has no {file}: give the folder that the archives of NUS-WIDE unpack to")
    return [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def _matrix(file: Path, rows: int, columns: int) -> Iterator[np.ndarray]:
    """Yield the lines of a file of 0 and 1, each (columns,) bool."""
    lines = _lines(file)
    if len(lines) != rows:
        raise InputError(f"{file} has {len(lines)} lines for {rows} listed images: unpack it again")
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if len(words) != columns or not set(words) <= {"0", "1"}:
            raise InputError(f"{file}, line {number}: it does not hold {columns} of 0 and 1: unpack it again")
        yield np.array(words) == "1"
