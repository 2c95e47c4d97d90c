"""The files of an export that belong to a split."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sct_hf.data.registry import Request
from sct_hf.errors import InputError


@dataclass(frozen=True)
class ExportFile:
    """A file of an export.

    Attributes:
        path: The file.
        root: Folder of relative paths of its images.
        many_splits: Whether it may have several splits, since neither its name nor the user assigns it to one.
    """

    path: Path
    root: Path
    many_splits: bool = False


def export_files(request: Request, usual: Sequence[str]) -> list[ExportFile]:
    """Find the file or files of a split.

    Args:
        request: Files, with images in `data_dir` or next to each file; or else a folder.
        usual: Paths of the file below `data_dir`, in the order to try; {split} stands for the split.

    Raises:
        InputError: Neither files nor a folder are given, or the folder has none of the usual files.
    """
    data_dir, split = request.data_dir, request.split
    if request.files is not None:
        return [ExportFile(path, path.parent if data_dir is None else data_dir) for path in request.files]
    if data_dir is None:
        raise InputError(f"files is not given: name the file of split {split!r}, or its folder by data_dir")
    for name in usual:
        path = data_dir / name.format(split=split)
        if os.path.isfile(path):
            return [ExportFile(path, path.parent, many_splits="{split}" not in name)]
    names = ", ".join(name.format(split=split) for name in usual)
    raise InputError(f"data_dir is {str(data_dir)!r}, but it has none of {names}: give another folder, or name files")
