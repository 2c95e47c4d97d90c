"""Sidecars: a file with its tags beside each image, `photo.jpg.json` or `photo.jpg.xmp`."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sct_hf.errors import InputError
from sct_hf.files import PARTIAL, atomic_write
from sct_hf.inference.formats import entry_of
from sct_hf.inference.rows import row_of
from sct_hf.inference.settings import NAMED, settings_digest
from sct_hf.inference.tagger import Tags
from sct_hf.inference.xmp import merged, own_fact

KINDS = ("json", "xmp")
_SETTINGS = "settings"


class Sidecars:
    """Writes sidecars, and knows by those that are there which images are done.

    The name is the image's with one more ending, as darktable and digiKam have it for XMP. The image itself is never
    touched. An XMP file of another program is added to, see `xmp.merged`; a JSON file of another program is left as it
    is. A file of nothing but white space is taken for a new one. Where a sidecar is a link, the file that it leads to
    is written.

    Args:
        kind: "json" or "xmp".
        settings: What decides tags, see `run_settings`.
        words: What to write as keywords instead of labels, such as {"diningtable": "dining table"}.

    Attributes:
        empty: How many files of nothing but white space were written anew.
    """

    def __init__(self, kind: str, settings: dict[str, Any], words: Mapping[str, str] = MappingProxyType({})) -> None:
        self.kind = kind
        self._words = words
        self._digest = settings_digest(settings)
        self._model = str(settings[NAMED])
        self.empty = 0
        self._since = time.time()
        self._tidied: set[Path] = set()

    def path_of(self, image: Path) -> Path:
        """The sidecar of an image."""
        return image.with_name(f"{image.name}.{self.kind}")

    def is_done(self, name: str) -> bool:
        """Whether the image of this name has a sidecar with the tags of these settings."""
        try:
            content = self.path_of(Path(name)).read_bytes()
        except (OSError, ValueError):
            return False
        if self.kind == "xmp":
            return own_fact(content, "Settings") == self._digest
        found = _own_json(content)
        return found is not None and found[_SETTINGS] == self._digest

    def write(self, result: Tags) -> Path:
        """Write the sidecar of an image, whole or not at all.

        Args:
            result: The image's tags, without error.

        Returns:
            The file.

        Raises:
            InputError: The image is no file, or the sidecar is another program's and cannot be added to, or a link
                to nowhere.
            OSError: The sidecar cannot be written.
        """
        if str(result.path) != result.name or not result.path.is_file():
            raise InputError("it is no file that could have a sidecar; give --output")
        path = self.path_of(result.path)
        try:
            target = _target(path)
            before = target.read_bytes() if target.exists() else None
            is_empty = before is not None and not before.strip()
            make = self._json if self.kind == "json" else self._xmp
            content = make(result, None if is_empty else before)
        except InputError as error:
            raise InputError(f"{path.name!r} was left as it is: {error}") from error
        self._remove_leftovers(target.parent)
        with atomic_write(target) as temporary:
            temporary.write_bytes(content)
        self.empty += is_empty
        return path

    def _remove_leftovers(self, folder: Path) -> None:
        """Remove, once, what a run that was killed left half-written in a folder of images or sidecars.

        A file that is younger than this run may be another run's, and stays.
        """
        if folder in self._tidied:
            return
        self._tidied.add(folder)
        with suppress(OSError):
            for path in folder.glob(f"{PARTIAL}*-????????.{self.kind}"):
                image = path.with_name(path.stem[len(PARTIAL) : -len("-????????")])
                is_ours = image.is_file() or self.path_of(image).is_file()
                if is_ours and path.stat().st_mtime < self._since:
                    path.unlink()

    def _json(self, result: Tags, before: bytes | None) -> bytes:
        if before is not None and _own_json(before) is None:
            raise InputError("it is another program's file; give --sidecars xmp, or --output")
        entry = {"path": result.path.name, "tags": entry_of(row_of(result))["tags"]}
        content = entry | {"model": self._model, _SETTINGS: self._digest}
        return (json.dumps(content, indent=2, ensure_ascii=True) + "\n").encode()

    def _xmp(self, result: Tags, before: bytes | None) -> bytes:
        return merged(before, result.tags, {"Model": self._model, "Settings": self._digest}, self._words)


def _target(path: Path) -> Path:
    """The file that a link leads to; a file that is no link is its own.

    Raises:
        InputError: The link leads in a circle, or into a folder that does not exist.
    """
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink() or not target.parent.is_dir():
        raise InputError(f"it is a link to {os.readlink(path)!r}, where no file can be: remove it, or mend it")
    return target


def _own_json(content: bytes) -> dict[str, Any] | None:
    """What this class wrote, or None if another program did."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and {_SETTINGS, "tags", "model"} <= found.keys() else None
