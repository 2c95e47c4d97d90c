"""How long training waits for its images."""

import time
from collections.abc import Iterable, Iterator
from typing import Any


class TimedLoader:
    """A loader whose batches are waited for by the clock.

    Starting the loader counts as waiting. Where the device works on while the host waits, it is an upper bound of
    the time lost.

    Args:
        loader: Any iterable of batches.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self._seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        started = time.perf_counter()
        for batch in self.loader:
            self._seconds += time.perf_counter() - started
            yield batch
            started = time.perf_counter()
        self._seconds += time.perf_counter() - started

    def take_seconds(self) -> float:
        """Return the seconds spent waiting since this was last asked for."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
