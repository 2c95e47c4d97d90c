"""Which images are done: names in a temporary file, so that memory does not grow with their number."""

import hashlib
import sqlite3
from collections.abc import Callable


class Lookup:
    """Names of images, each asked for once.

    Attributes:
        done: Images asked for that were marked as done.
        repeated: Images asked for more than once.
        key: What the place of the results calls an image of a name, as `mark_done` is told it.
    """

    def __init__(self) -> None:
        self.done = 0
        self.repeated = 0
        self.key: Callable[[str], str] = str
        self._table = sqlite3.connect("", isolation_level=None)  # a file without a name, gone with the process
        for command in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA cache_size = -16000",  # 16 MB
            "CREATE TABLE names (digest BLOB PRIMARY KEY, is_done INTEGER) WITHOUT ROWID",
            "BEGIN",
        ):
            self._table.execute(command)

    def mark_done(self, name: str) -> None:
        """Mark an image as done before."""
        self._table.execute("INSERT OR IGNORE INTO names VALUES (?, 1)", (_digest(name),))

    def ask(self, name: str, is_done: Callable[[str], bool] | None = None) -> bool:
        """Whether the image is neither done nor asked for before.

        Args:
            name: The image's name.
            is_done: Tells in another way whether it is done, if it was not marked.
        """
        digest = _digest(self.key(name))
        if self._table.execute("INSERT OR IGNORE INTO names VALUES (?, 0)", (digest,)).rowcount:
            if is_done is None or not is_done(name):
                return True
            self.done += 1
            return False
        if self._table.execute("UPDATE names SET is_done = 0 WHERE digest = ? AND is_done", (digest,)).rowcount:
            self.done += 1
        else:
            self.repeated += 1
        return False

    def close(self) -> None:
        """Free the file."""
        self._table.close()


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
