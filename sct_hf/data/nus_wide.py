"""NUS-WIDE in the layout of its archives, with the labels of zero-shot tagging: user tags and concepts."""

import os
from collections.abc import Sequence
from pathlib import Path

from sct_hf.data.listing import Listing, Record
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import Request, register_reader

NUS_CONCEPTS: list[str] = (
    "airport animal beach bear birds boats book bridge buildings cars castle cat cityscape clouds computer coral cow "
    "dancing dog earthquake elk fire fish flags flowers food fox frost garden glacier grass harbor horses house lake "
    "leaf map military moon mountain nighttime ocean person plane plants police protest railroad rainbow reflection "
    "road rocks running sand sign sky snow soccer sports statue street sun sunset surf swimmers tattoo temple tiger "
    "tower town toy train tree valley vehicle water waterfall wedding whales window zebra"
).split()
"""The 81 annotated concepts, in the order of `ConceptsList/Concepts81.txt`."""

_SPLITS = {"train": "Train", "test": "Test"}


@register_reader(
    "nuswide",
    title="NUS-WIDE",
    needs=["data_dir"],
    published=True,
    sign=lambda place: {"data_dir": place} if (place / "NUS_WID_Tags").is_dir() else None,
    layout="NUS_WID_Tags/",
)
def list_nus_wide(request: Request, problems: Problems) -> Listing:
    """List a split of NUS-WIDE (Chua et al., CIVR 2009) with the labels of zero-shot tagging.

    The labels are the 925 user tags of `TagList1k.txt` that are not concepts, then the 81 concepts: the seen and
    unseen labels of Fast0Tag (Zhang et al., CVPR 2016) and later work, `--unseen_labels nus81`. As there, a missing
    user tag counts as absent.

    Args:
        request: The split, "train" (161,789 listed images) or "test" (107,859), and the folder with `ImageList/`,
            `ConceptsList/Concepts81.txt`, `Groundtruth/TrainTestLabels/`, `NUS_WID_Tags/` and the images in `Flickr/`.
        problems: Collects the errors: files that are absent or do not match the list of images, and lines with other
            values than 0 and 1.

    Raises:
        InputError: The split does not exist.
    """
    if request.split not in _SPLITS:
        raise SplitError(request.split, "NUS-WIDE has train and test")
    assert request.data_dir is not None
    root, part = request.data_dir.absolute(), _SPLITS[request.split]
    file = root / "ImageList" / f"{part}Imagelist.txt"
    listing = Listing(str(file))
    for number, path in _lines(file, problems):
        path = path.replace("\\", "/")
        place = f"{file}, line {number}"
        listing.records.append(Record(place, path.removesuffix(".jpg"), root / "Flickr" / path, []))
    concepts = [line for _, line in _lines(root / "ConceptsList" / "Concepts81.txt", problems)]
    tags = [line for _, line in _lines(root / "NUS_WID_Tags" / "TagList1k.txt", problems)]
    judged = set(concepts)
    listing.declare([*(tag for tag in tags if tag not in judged), *concepts])
    if problems.found:
        return listing
    names = [None if tag in judged else tag for tag in tags]
    _add_labels(listing, root / "NUS_WID_Tags" / f"{part}_Tags1k.dat", names, problems)
    for concept in concepts:
        marks = root / "Groundtruth" / "TrainTestLabels" / f"Labels_{concept}_{part}.txt"
        _add_labels(listing, marks, [concept], problems)
    return listing


def _lines(file: Path, problems: Problems) -> list[tuple[int, str]]:
    """The non-empty lines, stripped, with their numbers."""
    if not os.path.isfile(file):
        problems.add(
            "no file", file, "data_dir has no such file", "give the folder that NUS-WIDE's archives unpack to"
        )
        return []
    text = file.read_text(encoding="utf-8", errors="replace")  # user tags of any encoding
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _add_labels(listing: Listing, file: Path, names: Sequence[str | None], problems: Problems) -> None:
    """Add the labels marked in a file of 0 and 1, with a line per image and a column per name (None: ignored)."""
    lines = _lines(file, problems)
    if not lines:
        return
    if len(lines) != len(listing.records):
        text = f"the file has {len(lines)} lines for {len(listing.records)} listed images"
        problems.add("wrong length", file, text, "unpack it again")
        return
    for record, (number, line) in zip(listing.records, lines, strict=True):
        words = line.split()
        if len(words) != len(names) or not set(words) <= {"0", "1"}:
            text = f"it does not hold {len(names)} of 0 and 1"
            problems.add("wrong mark", f"{file}, line {number}", text, "unpack it again")
            continue
        record.labels.extend(name for name, word in zip(names, words, strict=True) if word == "1" and name is not None)
