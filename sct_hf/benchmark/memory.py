"""Peak memory of a piece of work."""

import resource
import sys
import threading
from pathlib import Path

_STATUS = Path("/proc/self/status")
_SECONDS = 0.05


class PeakMemory:
    """Peak memory of this process in a `with` block; afterwards in `megabytes` (10⁶ bytes).

    On Linux it is sampled 20 times a second and counts allocations, not pages of mapped files such as cached feature
    maps, which the system may reclaim at any time. Elsewhere it is the process's largest resident set so far.
    """

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._take()
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._watch.join()
        self._take()

    def _look(self) -> None:
        while not self._stop.wait(_SECONDS):
            self._take()

    def _take(self) -> None:
        self.megabytes = max(self.megabytes, _allocated() / 1e6)


def _allocated() -> int:
    if not _STATUS.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kilobytes = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return 1024 * sum(int(kilobytes[name].split()[0]) for name in ("RssAnon", "RssShmem"))
