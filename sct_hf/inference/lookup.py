"""Names of images in temporary files, so that memory does not grow with their number: which are done, and whose."""

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
        self._table = _table("digest BLOB PRIMARY KEY, is_done INTEGER")

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


class Owners:
    """Which row has which name."""

    def __init__(self) -> None:
        self._table = _table("digest BLOB PRIMARY KEY, owner BLOB")

    def claim(self, name: str, owner: str) -> bool:
        """Take a name for a row, such as `shard.parquet#17`; whether no other row has it."""
        entry = (_digest(name), _digest(owner))
        if self._table.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", entry).rowcount:
            return True
        return bool(self._table.execute("SELECT 1 FROM names WHERE digest = ? AND owner = ?", entry).fetchone())


def _table(columns: str) -> sqlite3.Connection:
    """An empty table `names` in a file without a name, gone with the process."""
    table = sqlite3.connect("", isolation_level=None)
    for command in (
        "PRAGMA journal_mode = OFF",
        "PRAGMA synchronous = OFF",
        "PRAGMA cache_size = -16000",  # 16 MB
        f"CREATE TABLE names ({columns}) WITHOUT ROWID",
        "BEGIN",
    ):
        table.execute(command)
    return table


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
