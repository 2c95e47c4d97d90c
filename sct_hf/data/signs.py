"""Quick tests of files and folders, by which readers recognise their format."""

from pathlib import Path

_PART = 1 << 16


def one_file(folder: Path, pattern: str) -> Path | None:
    """The only file in a folder that matches a pattern; None if there are several or none."""
    found = sorted(folder.glob(pattern)) if folder.is_dir() else []
    return found[0] if len(found) == 1 else None


def ends_of(file: Path) -> bytes:
    """The first and the last 64 KiB of a file, without blanks at its start; empty for what is no file."""
    if not file.is_file():
        return b""
    with file.open("rb") as opened:
        head = opened.read(_PART)
        opened.seek(max(opened.tell(), file.stat().st_size - _PART))
        return head.lstrip() + opened.read()


def begins_with(file: Path, *words: str) -> bool:
    """Whether the first 64 KiB of a file contain all words."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        head = opened.read(_PART)
    return all(word.encode() in head for word in words)
