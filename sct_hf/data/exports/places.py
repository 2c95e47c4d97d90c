"""Where an export keeps its files and images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sct_hf.errors import InputError


@dataclass(frozen=True)
class ExportFile:
    """A file of an export.

    Attributes:
        path: The file.
        root: The folder that the places of its images start from.
        whole: It may hold several splits: neither its name nor the user says that it is one split's.
    """

    path: Path
    root: Path
    whole: bool = False


def export_files(
    split: str,
    files: str | Path | Sequence[str | Path] | None,
    data_dir: str | Path | None,
    usual: Sequence[str],
) -> list[ExportFile]:
    """Find the file or files of a split.

    Args:
        split: Name of the split.
        files: The files, if the user names them; images are then looked for in `data_dir`, or beside each file.
        data_dir: Folder of the export.
        usual: Paths of the file below `data_dir` in the order they are tried, {split} standing for the split.

    Raises:
        InputError: Neither files nor a folder are given, or the folder has none of the usual files.
    """
    if files is not None:
        paths = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
        return [ExportFile(path, path.parent if data_dir is None else Path(data_dir)) for path in paths]
    if data_dir is None:
        raise InputError(f"files is not given: name the file of split {split!r}, or its folder by data_dir")
    for name in usual:
        path = Path(data_dir) / name.format(split=split)
        if path.is_file():
            return [ExportFile(path, path.parent, whole="{split}" not in name)]
    names = ", ".join(name.format(split=split) for name in usual)
    raise InputError(f"data_dir is {str(data_dir)!r}, but it has none of {names}: give another folder, or name files")


def first_there(candidates: Iterable[Path], otherwise: Path) -> Path:
    """The first of some paths that is a file, or `otherwise`."""
    return next((path for path in candidates if path.is_file()), otherwise)
