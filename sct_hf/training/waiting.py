"""The time that training waits for images."""

import time
from collections.abc import Iterable, Iterator
from typing import Any


class TimedLoader:
    """A loader that measures the time spent waiting for its batches.

    Starting the loader counts as waiting. If the device works while the host waits, the time is an upper bound of the
    loss.

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
        """Return the seconds spent waiting since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
