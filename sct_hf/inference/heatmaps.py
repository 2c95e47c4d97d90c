"""Heatmaps of tags as files."""

import hashlib
import re
from pathlib import Path
from urllib.parse import quote

from sct_hf.files import atomic_write
from sct_hf.inference.tagger import Tags
from sct_hf.model.image_processing_sct import HEATMAP_SIDE, heatmap_overlay, open_image

_LONGEST_NAME = 200  # bytes; file systems take 255, and the file is written under a longer name first


def write_heatmaps(found: Tags, folder: str | Path, root: str | Path) -> list[Path]:
    """Write one PNG for each tag of an image: `folder/<path below root>-<label>.png`, at most `HEATMAP_SIDE` pixels.

    Characters that file systems may refuse are percent-encoded ("%2F"). A name that is too long is cut and ends in a
    digest of the whole name.

    Args:
        found: Result of a `Tagger` with `maps=True`, without error.
        folder: Folder to write to; created if absent.
        root: A folder above the image. Folders between the two are repeated below `folder`.

    Returns:
        The files written.
    """
    if not found.maps:
        return []
    image = open_image(found.path)
    image.thumbnail((HEATMAP_SIDE, HEATMAP_SIDE))
    below = found.path.absolute().relative_to(Path(root).absolute())
    written = []
    for label, weights in found.maps.items():
        target = Path(folder) / below.with_name(f"{_file_name(f'{below.name}-{label}')}.png")
        with atomic_write(target) as temporary:
            heatmap_overlay(image, weights).save(temporary)
        written.append(target)
    return written


def _file_name(text: str) -> str:
    name = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|%]', lambda found: quote(found[0], safe=""), text)
    data = name.encode()
    if len(data) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(data).hexdigest()[:8]
    return f"{data[: _LONGEST_NAME - 9].decode(errors='ignore')}-{digest}"
