"""Fingerprints of encoded images, to find duplicates."""

import hashlib
import struct

_JPEG_END = b"\xff\xd9"
_JPEG_METADATA = {*range(0xE0, 0xF0), 0xFE} - {0xEE}  # application segments and comments; 0xEE says what colours mean
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_IMAGE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")


def fingerprint(data: bytes) -> bytes:
    """Digest of an encoded image, ignoring parts that do not change its pixels.

    JPEG and PNG files that differ only in metadata (EXIF, comments, profiles, times) have the same fingerprint. A
    re-encoded copy with another quality, size or format is not detected. Nothing is decoded.

    Args:
        data: The content of a file.
    """
    parts = _jpeg_parts(data) if data.startswith(b"\xff\xd8") else _png_parts(data) if data.startswith(_PNG) else None
    digest = hashlib.sha256()
    for part in parts or [data]:
        digest.update(part)
    return digest.digest()


def _jpeg_parts(data: bytes) -> list[bytes] | None:
    """Tables, frame and scans without application segments and comments; None if the layout is not JPEG's."""
    parts: list[bytes] = []
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        if marker == 0xDA:
            return [*parts, data[place : data.rfind(_JPEG_END) % len(data) + 2]]
        if marker not in _JPEG_METADATA:
            parts.append(data[place:end])
        place = end
    return None


def _png_parts(data: bytes) -> list[bytes] | None:
    parts: list[bytes] = []
    place = len(_PNG)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind in _PNG_IMAGE:
            parts.append(kind + data[place + 8 : place + 8 + length])
        place += 12 + length
    return parts or None
