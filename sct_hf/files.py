"""Files: atomic writing, digests, and image endings."""

import glob
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sct_hf.errors import InputError

IMAGE_SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""Lower-case endings of image files, as folder searches use them."""

PARTIAL = ".partial-"
"""Prefix of incomplete files and folders; the final name follows it."""

_RANDOM = 8  # letters that tempfile.mkstemp adds to a name


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` on success, remove it on failure.

    A file that is replaced hands on its permissions.

    Args:
        path: The file to create or replace. Its folder is created if absent.

    Raises:
        OSError: The disk is full or the folder is not writable; `path` is then unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{PARTIAL}{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_mode(path))
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _mode(path: Path) -> int:
    """The permissions of a file, or those of a new one."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def remove_partial(folder: Path, only: Path | None = None) -> None:
    """Remove incomplete files of killed processes from `folder`, while no other process writes there.

    Args:
        folder: The folder.
        only: The file whose incomplete ones go, if others may be written to the folder meanwhile.
    """
    pattern = "*"
    if only is not None:
        pattern = f"{glob.escape(only.stem)}-{'?' * _RANDOM}{glob.escape(only.suffix)}"
    for path in folder.glob(f"{PARTIAL}{pattern}"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def sync(path: str | Path) -> None:
    """Flush a file's content, or a folder's entries, to the disk, so that they survive a power cut.

    Raises:
        OSError: The disk is full or broken.
    """
    if os.name == "nt" and Path(path).is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cache_folder(name: str) -> Path:
    """The user's folder of what can be made again: `$XDG_CACHE_HOME/sct_hf/NAME`, or the same below `~/.cache`.

    Raises:
        InputError: No home folder is known for it.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(given or "~/.cache").expanduser() / "sct_hf" / name
    except RuntimeError as error:
        raise InputError(f"XDG_CACHE_HOME is {given!r}, and no home folder is known: set it to a folder") from error


def sha256_of_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_files(paths: list[Path]) -> str:
    """Hex SHA-256 over the SHA-256 digests of `paths`, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(bytes.fromhex(sha256_of_file(path)))
    return digest.hexdigest()


def images_below(folder: Path) -> list[Path]:
    """Image files in a folder and its subfolders, by their endings, sorted; hidden ones are skipped.

    A subfolder that is unreadable, or deleted meanwhile, counts as empty.
    """
    named = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    images = (path for path in named if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in images if path.is_file())
