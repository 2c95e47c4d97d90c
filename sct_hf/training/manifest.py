"""A folder's manifest: the SHA-256 digest of every file, to find missing or damaged files before use."""

import json
from pathlib import Path

from sct_hf.errors import InputError
from sct_hf.files import sha256_of_file, sync

MANIFEST = "manifest.json"


class DamagedError(ValueError):
    """A file of the folder is missing or changed; the message names it."""


def seal(folder: Path) -> None:
    """Write the manifest of the files in `folder`, and flush all of them to the disk.

    Raises:
        OSError: A file cannot be read or written.
    """
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    for path in files:
        sync(path)
    content = {"files": {path.name: sha256_of_file(path) for path in files}}
    (folder / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    sync(folder / MANIFEST)
    sync(folder)


def verify(folder: Path, names: list[str]) -> None:
    """Compare the files of a folder with its manifest.

    Files that the manifest does not list are left alone; nothing reads them.

    Args:
        folder: A folder written with `seal`.
        names: Required files.

    Raises:
        DamagedError: A file or the manifest is missing or changed.
    """
    try:
        digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        listed = {str(name): str(digest) for name, digest in digests.items()}
    except FileNotFoundError:
        raise DamagedError(f"{MANIFEST} is missing") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DamagedError(f"{MANIFEST} is damaged") from None
    for name in names:
        if name not in listed:
            raise DamagedError(f"{name} is not listed in {MANIFEST}, or {MANIFEST} is damaged")
        _compare(folder / name, listed[name])


def require_unchanged(path: Path, digest: str) -> None:
    """Compare one file of a run with its recorded digest.

    Raises:
        InputError: The file is missing or changed.
    """
    try:
        _compare(path, digest)
    except DamagedError as error:
        raise InputError(f"in {path.parent}, {error}: start again with --overwrite_output_dir") from error


def _compare(path: Path, digest: str) -> None:
    try:
        found = sha256_of_file(path)
    except FileNotFoundError:
        raise DamagedError(f"{path.name} is missing") from None
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error.strerror}") from None
    if found != digest:
        raise DamagedError(f"{path.name} is damaged: it is not the file that was written")
