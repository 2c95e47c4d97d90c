"""From a list of image files and their labels to `LabelledImages`."""

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset
from PIL import Image

from sct_hf.data.base import LabelledImages, features_for
from sct_hf.errors import InputError

_END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}


@dataclass(frozen=True)
class Row:
    """A listed image.

    Attributes:
        image_id: Its name within the data set.
        path: Its file.
        labels: Indices of the labels it shows.
        unknown: Indices of the labels nobody judged; one that is in `labels` too counts as shown.
    """

    image_id: str
    path: Path
    labels: Collection[int]
    unknown: Collection[int] = ()


def labelled_images(
    rows: Sequence[Row], label_names: Sequence[str], *, name: str, split: str, skip_missing_images: bool
) -> LabelledImages:
    """Check every listed file and build the data set, held in memory: paths and label ids, not pixels.

    Args:
        rows: The listed images.
        label_names: The C label names.
        name: Name of the data set.
        split: Name of the split.
        skip_missing_images: Leave out images whose file is missing or broken instead of raising.

    Raises:
        InputError: Missing or broken files, no image at all, an id twice, or fewer than two labels.
    """
    features = features_for(label_names)
    twice = [image_id for image_id, count in Counter(row.image_id for row in rows).items() if count > 1]
    if twice:
        raise InputError(
            f"split {split!r} of data set {name!r} lists {len(twice)} images twice, first {', '.join(twice[:5])}: "
            "list each once, with all its labels"
        )
    kept, skipped = check_files(
        [row.path for row in rows],
        [row.image_id for row in rows],
        name=name,
        split=split,
        skip_missing_images=skip_missing_images,
    )
    rows = [rows[index] for index in kept]
    columns = {
        "image_id": [row.image_id for row in rows],
        "image": [str(row.path) for row in rows],
        "labels": [sorted(set(row.labels)) for row in rows],
        "unknown": [sorted(set(row.unknown) - set(row.labels)) for row in rows],
    }
    return LabelledImages(Dataset.from_dict(columns, features=features), name, split, skipped)


def check_files(
    paths: Sequence[Path | None], image_ids: Sequence[str], *, name: str, split: str, skip_missing_images: bool
) -> tuple[list[int], tuple[str, ...]]:
    """Look at every file: its header, and the rest too if it does not end as its format does.

    Args:
        paths: The files; None for an image that has none to look at.
        image_ids: The ids of the images.
        name: Name of the data set.
        split: Name of the split.
        skip_missing_images: Tell what can be kept instead of raising.

    Returns:
        The positions of the images to keep, and the ids of the others.

    Raises:
        InputError: Files are missing or broken; the message gives the count and the first of them.
    """
    faults = file_faults(paths)
    if faults and not skip_missing_images:
        first = "; ".join(f"{image_ids[index]} at {paths[index]} ({faults[index]})" for index in list(faults)[:5])
        raise InputError(
            f"{len(faults)} of {len(paths)} images of split {split!r} of data set {name!r} are missing or broken, "
            f"first {first}: restore them, or pass skip_missing_images to leave them out"
        )
    kept = [index for index in range(len(paths)) if index not in faults]
    return kept, tuple(image_ids[index] for index in faults)


def file_faults(paths: Sequence[Path | None]) -> dict[int, str]:
    """Look at every file as `check_files` does; return what is wrong by position, "missing" or "broken: …"."""
    with ThreadPoolExecutor() as pool:
        return {index: fault for index, fault in enumerate(pool.map(_fault, paths)) if fault}


def _fault(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file, Image.open(file) as image:
            marker = _END_MARKERS.get(image.format or "")
            if marker is None:
                image.load()
            else:
                position = file.tell()
                file.seek(-min(64, path.stat().st_size), 2)
                whole = marker in file.read()
                file.seek(position)
                if not whole:
                    image.load()
    except FileNotFoundError:
        return "missing"
    except Exception as error:  # decoders raise almost anything on broken data
        return f"broken: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return None
