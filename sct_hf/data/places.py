"""Places of listed images, and files of a folder that are not read."""

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
    """The absolute path of a listed image.

    Under each root, four forms are tried: the path as written; without spaces around it; with slashes instead of
    Windows backslashes; and, if it has no image ending, the only image with this name, as for video frames.

    Args:
        written: The path in the list.
        roots: Folders that it may start from, in the order to try.

    Returns:
        The first existing file, or the path as written under the first root.
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
    """The remedy for a Windows path that leads to no file; None for other paths."""
    if _WINDOWS.match(written):
        return "it is a path of another machine (Windows): write it relative to the list, or to data_dir"
    return "its backslashes are read as slashes: correct the path, or set data_dir" if "\\" in written else None


def plugin_hint(path: Path) -> str | None:
    """How to install the reader of a file's format; None if no further package reads it."""
    suffix = path.suffix.lower()
    if suffix in _PLUGINS:
        return f"pip install {_PLUGINS[suffix]}"
    return 'pip install "pillow>=11.3"' if suffix == ".avif" and not features.check("avif") else None


def unread_files(folder: Path) -> str | None:
    """A note on files in a folder and its subfolders that seem to be images but are not read, by their endings."""
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
