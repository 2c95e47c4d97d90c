"""Images without labels: their scores by a checkpoint, and embeddings to compare them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sct_hf.data.fingerprint import fingerprint
from sct_hf.data.problems import Problems
from sct_hf.data.recognise import recognise
from sct_hf.data.registry import list_data
from sct_hf.errors import InputError
from sct_hf.files import images_below
from sct_hf.inference.files import common_folder
from sct_hf.inference.tagger import Tagger
from sct_hf.progress import progress_bar

_MANY = 1000  # images from which reading them shows a bar


@dataclass(frozen=True)
class Unlabelled:
    """What a checkpoint sees in images without labels.

    Attributes:
        paths: The N files that could be read.
        scores: (N, C) float32 in [0, 1], those of the pipeline.
        embeddings: (N, D₀) float16, the mean of the backbone's map over its places.
        unread: A line on each file that could not be read.
    """

    paths: list[Path]
    scores: np.ndarray
    embeddings: np.ndarray
    unread: list[str]


def read_unlabelled(tagger: Tagger, paths: Sequence[Path], batch_size: int = 16) -> Unlabelled:
    """Score images and embed them. Only scores and embeddings stay in memory, about 3 KB an image.

    Args:
        tagger: A checkpoint of this package.
        paths: The files.
        batch_size: Images per batch.

    Raises:
        InputError: The model has no backbone of its own kind, or no image can be read.
    """
    backbone: Any = getattr(tagger.model, "backbone", None)
    if not hasattr(backbone, "num_features"):
        raise InputError(
            f"model: one of type {tagger.model.config.model_type!r} gives no embeddings of images; give a checkpoint "
            "of sct-hf train"
        )
    means: deque[np.ndarray] = deque()

    def keep(_module: Any, _inputs: Any, joined: Tensor) -> None:
        mean = joined[:, : backbone.num_features].float().mean((2, 3))  # (B, D₀)
        means.extend(mean.to(torch.float16).cpu().numpy())

    rows, embeddings, read, unread = [], [], [], []
    columns = {name: label for label, name in enumerate(tagger.label_names)}
    hook = backbone.register_forward_hook(keep)
    try:
        found = tagger.tag(paths, threshold=0.0, batch_size=batch_size)
        for tags in progress_bar(found, shown=len(paths) > batch_size, total=len(paths), unit="image", desc="tagging"):
            if tags.error is not None:
                unread.append(f"{tags.path}: {tags.error}")
                continue
            row = np.zeros(len(columns), dtype=np.float32)
            for name, score in tags.tags:
                row[columns[name]] = score
            rows.append(row)
            embeddings.append(means.popleft())
            read.append(tags.path)
    finally:
        hook.remove()
    if not read:
        raise InputError(f"images: none of {len(paths)} can be read, {unread[0]}; give images")
    return Unlabelled(read, np.stack(rows), np.stack(embeddings), unread)


def without_labelled(paths: Sequence[Path], labelled: Path) -> tuple[list[Path], str]:
    """Leave out images that have labels already, by their content.

    Files that differ only in metadata are the same; a re-encoded copy is not detected.

    Args:
        paths: The files.
        labelled: A folder of labelled images; or a table of them, whose names are looked for beside it, then below the
            folder of `paths`.

    Returns:
        The files that are left, and a line on how many were left out.

    Raises:
        InputError: The place cannot be used, none of its images is there, or no image is left.
    """
    files, where = (images_below(labelled), labelled) if labelled.is_dir() else _images_of_table(labelled, paths)
    if not files:
        raise InputError(
            f"labelled is {str(labelled)!r}, of which no image is there, in {str(where)!r} at least: correct the "
            "names in it, or give the folder of the labelled images"
        )
    known = {_print_of(path) for path in files}
    left = [
        path
        for path in progress_bar(paths, shown=len(paths) > _MANY, unit="image", desc="comparing")
        if not path.is_file() or _print_of(path) not in known
    ]
    line = (
        f"{len(paths) - len(left)} of {len(paths)} images are among the {len(files)} of {labelled}, found in {where}"
    )
    if not left:
        raise InputError(f"labelled: {line}; give images without labels, or the folder of those that have labels")
    return left, f"{line}: they are left out"


def _images_of_table(table: Path, paths: Sequence[Path]) -> tuple[list[Path], Path]:
    """The images that a table lists, as far as they are there, and the folder where they were looked for."""
    around = common_folder(paths)
    files: list[Path] = []
    where = around
    for place in (recognise(table), recognise(around, table)):
        problems = Problems()
        listing = list_data(
            place.dataset,
            place.options.get("train_split", "train"),
            problems,
            data_dir=place.options.get("data_dir"),
            files=place.options.get("train_file"),
        )
        problems.raise_if_any()
        files = [record.path for record in listing.records if record.path is not None and record.path.is_file()]
        if files:
            where = common_folder(files)
            break
    return files, where


def _print_of(path: Path) -> bytes:
    try:
        return fingerprint(path.read_bytes())
    except OSError:  # told when it is tagged
        return b""
