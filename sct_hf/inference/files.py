"""Input files of tagging: images, and lists of label names."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from sct_hf.errors import InputError
from sct_hf.files import IMAGE_SUFFIXES, images_below


def find_images(inputs: Sequence[str | Path]) -> list[Path]:
    """Expand files, folders and glob patterns to image files, each once, in the order given.

    A folder is searched with its subfolders, in name order, for files that end in one of `IMAGE_SUFFIXES` and do not
    begin with a dot. A pattern gives files with these endings too, so that sidecars are none of them; `**` in it
    matches any number of folders. An input that matches nothing stays in the result, so that opening it reports the
    error.

    Raises:
        InputError: No input matches a file.
    """
    found: dict[Path, None] = {}
    empty: list[str] = []
    for given in inputs:
        path = Path(given)
        if path.is_file():
            matches = [path]
        elif path.is_dir():
            matches = images_below(path)
        else:
            hits = [Path(hit) for hit in sorted(glob.glob(str(given), recursive=True))]
            named = [hit for hit in hits if hit.is_dir() or hit.suffix.lower() in IMAGE_SUFFIXES]
            matches = [file for hit in named for file in (images_below(hit) if hit.is_dir() else [hit])]
        if not matches:
            empty.append(f"{str(given)!r} " + ("is a folder without images" if path.is_dir() else "matches no file"))
        found |= dict.fromkeys(matches or [path])
    if len(empty) == len(inputs):
        raise InputError(f"images: {', '.join(empty)}; give files, folders or globs of images")
    return list(found)


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest common folder of all files, absolute and without `..`."""
    return Path(os.path.commonpath([Path(os.path.abspath(path)).parent for path in paths]))


def path_below(path: Path, root: Path) -> Path:
    """The path of a file relative to a folder above it, without `..`."""
    return Path(os.path.abspath(path)).relative_to(os.path.abspath(root))


def read_names(file: Path, field: str = "labels_file") -> list[str]:
    """Read names from a text file, one per line; empty lines are skipped.

    Args:
        file: The file.
        field: Name of the option that gives it.

    Raises:
        InputError: The file cannot be read, is not UTF-8, or has no name.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{field} is {str(file)!r}, which cannot be read ({reason}); give UTF-8 text") from error
    names = [name for line in lines if (name := line.strip())]
    if not names:
        raise InputError(f"{field} is {str(file)!r}, which holds no name; give a text with a name a line")
    return names
