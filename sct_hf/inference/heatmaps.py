"""Heatmaps of tags as files."""

import hashlib
import re
from bisect import bisect_right
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont

from sct_hf.escaping import in_line
from sct_hf.files import atomic_write
from sct_hf.inference.files import path_below
from sct_hf.inference.tagger import Tags
from sct_hf.model.image_processing_sct import HEATMAP_SIDE, heatmap_overlay, open_image

_STRIP, _LETTERS = 24, 14  # pixels of height
_GROUND = "#22303c"
_LONGEST_NAME = 200  # bytes; file systems take 255, and the file is written under a longer name first


def write_heatmaps(found: Tags, folder: str | Path, root: str | Path) -> list[Path]:
    """Write one PNG for each tag of an image: `folder/<path below root>-<label>.png`.

    The heatmap has at most `HEATMAP_SIDE` pixels a side, with a caption below it, see `captioned`.

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
    below = path_below(found.path, Path(root))
    written = []
    scores = dict(found.tags)
    for label, weights in found.maps.items():
        target = Path(folder) / below.with_name(f"{_file_name(f'{below.name}-{label}')}.png")
        with atomic_write(target) as temporary:
            captioned(heatmap_overlay(image, weights), label, scores[label]).save(temporary)
        written.append(target)
    return written


def captioned(heatmap: Image.Image, label: str, score: float) -> Image.Image:
    """Add a strip of 24 pixels below an RGB image, with a tag's label and its score in percent.

    A label too long for the strip loses its middle. Its letters come from Pillow's font or, with matplotlib, from
    fonts of the machine; a letter that none has is written as Python escapes it.
    """
    sheet = Image.new("RGB", (heatmap.width, heatmap.height + _STRIP), _GROUND)
    sheet.paste(heatmap)
    draw, middle, right = ImageDraw.Draw(sheet), heatmap.height + _STRIP / 2, heatmap.width - 6
    letters = _with_fonts(in_line(label))
    percent = [(letter, _font()) for letter in f"{score:.0%}"]
    room = right - 6 - _width(percent) - 10
    shown = letters
    if len(letters) > room or _width(letters) > room:  # a strip shows fewer letters than it has pixels
        counts = range(min(len(letters), int(room)))
        kept = bisect_right(counts, room, key=lambda count: _width(_cut(letters, count))) - 1
        shown = _cut(letters, max(kept, 0))
    for x, parts in ((6.0, shown), (right - _width(percent), percent)):
        for font, run in groupby(parts, itemgetter(1)):  # whole, as letters of some scripts join
            text = "".join(part for part, _ in run)
            draw.text((x, middle + _LETTERS * 0.36), text, "white", font, anchor="ls")
            x += font.getlength(text)
    return sheet


def _cut(letters: list[tuple[str, Any]], kept: int) -> list[tuple[str, Any]]:
    """The first and last letters of a label, `kept` in all, with dots between them."""
    return [*letters[: (kept + 1) // 2], ("...", _font()), *letters[len(letters) - kept // 2 :]]


@cache
def _font(path: str | None = None) -> Any:
    return ImageFont.load_default(_LETTERS) if path is None else ImageFont.truetype(path, _LETTERS)


def _width(parts: list[tuple[str, Any]]) -> float:
    return sum(font.getlength(text) for text, font in parts)


def _with_fonts(text: str) -> list[tuple[str, Any]]:
    """The letters of a text with a font that has each, or escaped."""
    plain = _font()
    if text.isascii():
        return [(letter, plain) for letter in text]
    try:
        from sct_hf.fonts import font_of  # needs matplotlib, and takes a second
    except ImportError:
        return [(letter if letter.isascii() else ascii(letter)[1:-1], plain) for letter in text]
    found = []
    for letter in text:
        path = font_of(letter)
        font = _font(path)
        found.append((letter if path else ascii(letter)[1:-1], font))
    return found


def _file_name(text: str) -> str:
    name = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|%]', lambda found: quote(found[0], safe=""), text)
    data = name.encode()
    if len(data) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(data).hexdigest()[:8]
    return f"{data[: _LONGEST_NAME - 9].decode(errors='ignore')}-{digest}"
