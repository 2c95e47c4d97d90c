"""Where images lie that a list names, and files of a folder that nobody reads."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image, features

from sct_hf.files import IMAGE_SUFFIXES

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_CAMERA = {".heic", ".heif", ".hif", ".jxl", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"}
_PLUGINS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".hif": "pillow-heif"}
_NO_PICTURES = {".pdf", ".ps", ".eps", ".mpg", ".mpeg", ".h5", ".hdf"}


def find_image(written: str, roots: Sequence[Path]) -> Path:
    """The file that a written path means, absolute.

    Below each root it is looked for as it is written; without blanks around it; with slashes in place of the
    backslashes of Windows; and, if it has no ending of an image, as the only image of that name, as frames of a video
    have it.

    Args:
        written: The path as a list has it.
        roots: Folders that it may start from, in the order they are tried.

    Returns:
        The first that is there, or the path as written below the first root.
    """
    forms = dict.fromkeys([written, written.strip(), written.strip().replace("\\", "/")])
    folders = [str(root) for root in roots]
    for form in forms:
        for folder in folders:
            path = os.path.join(folder, form)
            if os.path.isfile(path):
                return Path(path).absolute()
    for form in forms:
        if "\0" not in form and Path(form).suffix.lower() not in IMAGE_SUFFIXES:
            for root in roots:
                found = _images_by_stem(str((root / form).parent)).get(Path(form).name, [])
                if len(found) == 1:
                    return Path(found[0]).absolute()
    return (roots[0] / written.strip().replace("\\", "/" if not _WINDOWS.match(written) else "\\")).absolute()


def windows_hint(written: str) -> str | None:
    """What to do about a path of Windows that does not lead to a file; None for another one."""
    if _WINDOWS.match(written):
        return "it is a path of another machine (Windows): write it relative to the list, or to data_dir"
    return "its backslashes are read as slashes: correct the path, or set data_dir" if "\\" in written else None


def plugin_hint(path: Path) -> str | None:
    """How to make a file readable whose format a package reads that is not installed; None for other files."""
    suffix = path.suffix.lower()
    if suffix in _PLUGINS:
        return f"pip install {_PLUGINS[suffix]}"
    return 'pip install "pillow>=11.3"' if suffix == ".avif" and not features.check("avif") else None


def unread_files(folder: Path) -> str | None:
    """A note of the files in a folder and its subfolders that seem to be images but are not read, by their endings."""
    counts = Counter(
        path.suffix.lower()
        for path in folder.rglob("*")
        if not path.name.startswith(".") and _seems_image(path) and path.is_file()
    )
    if not counts:
        return None
    kinds = [f"{count} {suffix or 'without an ending'}" for suffix, count in sorted(counts.items())]
    plugins = sorted({_PLUGINS[suffix] for suffix in counts if suffix in _PLUGINS})
    way = f"convert them, or list them in a table after pip install {' '.join(plugins)}" if plugins else "convert them"
    return f"{folder}: {counts.total()} files are not read ({', '.join(kinds)}): {way} if they are images to use"


def distinct_ids(names: Sequence[str]) -> list[str]:
    """Short ids of image files: their stems, or, where two have one stem, more of their paths."""
    written = [name.replace("\\", "/") for name in names]
    for ids in ([Path(name).stem for name in written], [os.path.splitext(name)[0] for name in written]):
        if len(set(ids)) == len(set(written)):
            return ids
    return written


def _seems_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix in _NO_PICTURES:
        return False
    if suffix:
        return suffix in _CAMERA or suffix in _registered()
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError:
        return False
    return (
        start.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")) or start[8:12] == b"WEBP"
    )


@lru_cache(maxsize=1)
def _registered() -> frozenset[str]:
    return frozenset(Image.registered_extensions())


@lru_cache(maxsize=64)
def _images_by_stem(folder: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if os.path.isdir(folder):
        for name in sorted(os.listdir(folder)):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in IMAGE_SUFFIXES:
                found.setdefault(stem, []).append(os.path.join(folder, name))
    return found
