"""Quick tests of files and folders, by which readers recognise their format."""

from pathlib import Path


def one_file(folder: Path, pattern: str) -> Path | None:
    """The only file in a folder that matches a pattern; None if there are several or none."""
    found = sorted(folder.glob(pattern)) if folder.is_dir() else []
    return found[0] if len(found) == 1 else None


def begins_with(file: Path, *words: str) -> bool:
    """Whether the first 64 KiB of a file contain all words."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        head = opened.read(1 << 16)
    return all(word.encode() in head for word in words)
