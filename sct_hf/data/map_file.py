"""The file of cached maps: its space is reserved before writing, and a digest verifies it."""

import errno
import hashlib
import os
import shutil
from functools import cached_property
from pathlib import Path

import numpy as np

from sct_hf.errors import InputError
from sct_hf.files import sync

_ENDING = hashlib.sha256().digest_size  # bytes of the digest, behind the array
_BLOCK = 1 << 22
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CANNOT_RESERVE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class MapFile:
    """A .npy file of float16 maps that ends in the SHA-256 digest of a key and of the content before it.

    It is never written through a memory map, since a full disk would then kill the process. Several processes may
    write rows of one file.

    Args:
        path: The file.
        key: The inputs of the content. A file with another key is not used.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self._key = path, key

    def create(self, shape: tuple[int, ...]) -> None:
        """Create the file, and reserve its space on the disk if the system supports it.

        Raises:
            InputError: The disk has too little space, or is not writable.
        """
        needed, free = 2 * int(np.prod(shape)), shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise self._no_room(needed, free)
        try:
            with open(self.path, "wb") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, file.tell() + needed + _ENDING)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise self._not_written(error, needed, free) from error

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write some rows of the array.

        Args:
            rows: (B,) indices of the rows.
            values: (B, …) float16.

        Raises:
            InputError: The disk is full.
        """
        start, shape = self._header
        size = 2 * int(np.prod(shape[1:]))
        try:
            with open(self.path, "r+b", buffering=0) as file:
                for row, value in zip(rows.tolist(), values.astype("<f2", order="C"), strict=True):
                    file.seek(start + row * size)
                    left = value.tobytes()
                    while left:
                        left = left[file.write(left) :]
        except OSError as error:
            raise self._not_written(error, shape[0] * size) from error

    def seal(self) -> None:
        """Append the digest, and flush the file to the disk.

        Raises:
            InputError: The disk is full.
        """
        start, shape = self._header
        size = 2 * int(np.prod(shape))
        try:
            with open(self.path, "r+b") as file:
                file.truncate(start + size)
                file.seek(start + size)
                file.write(self._digest(start + size))
            sync(self.path)
        except OSError as error:
            raise self._not_written(error, size) from error

    def is_whole(self) -> bool:
        """Read the whole file; return whether it is unchanged since `seal`, with this key.

        Raises:
            InputError: The file cannot be read.
        """
        try:
            end = self.path.stat().st_size - _ENDING
            with open(self.path, "rb") as file:
                file.seek(max(end, 0))
                return end > 0 and file.read() == self._digest(end)
        except OSError as error:
            raise InputError(
                f"cache_dir holds {str(self.path)!r}, which cannot be read ({error.strerror or error}): remove it, or "
                "name another folder"
            ) from error

    @cached_property
    def _header(self) -> tuple[int, tuple[int, ...]]:
        """Offset and shape of the array."""
        with open(self.path, "rb") as file:
            np.lib.format.read_magic(file)
            shape = np.lib.format.read_array_header_1_0(file)[0]
            return file.tell(), shape

    def _digest(self, end: int) -> bytes:
        """Digest of the key and the file's first bytes."""
        digest = hashlib.sha256(self._key.encode())
        with open(self.path, "rb", buffering=0) as file:
            while end > 0 and (block := file.read(min(end, _BLOCK))):
                digest.update(block)
                end -= len(block)
        return digest.digest()

    def _not_written(self, error: OSError, needed: int, free: int | None = None) -> InputError:
        if error.errno in _FULL:
            return self._no_room(needed, shutil.disk_usage(self.path.parent).free if free is None else free)
        return InputError(
            f"cache_dir is {str(self.path.parent)!r}, where no maps can be written ({error.strerror or error}): name "
            "another folder"
        )

    def _no_room(self, needed: int, free: int) -> InputError:
        return InputError(
            f"cache_dir is {str(self.path.parent)!r}: the cached maps need {needed:,} bytes, but {free:,} are free "
            "there. Name a folder with more room, or lower cached_views or image_size"
        )
