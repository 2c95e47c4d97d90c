"""What a damaged file may do: be read, or be refused by a named error; soon, and within memory."""

import random
import resource
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SECONDS = 5
GIGABYTE = 2**20  # in the kibibytes of ru_maxrss


class TooSlowError(BaseException):
    """Raised in what takes too long; no handler of Exception stops it."""


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(repr=False)
class Verdict:
    """What became of the mutants of one kind.

    Attributes:
        read: How many were read.
        refused: How many were refused by a named error.
        faults: For each kind of fault, how often, and the seed and traceback of its first mutant.
    """

    read: int
    refused: int
    faults: dict[str, tuple[int, int, str]]

    def __repr__(self) -> str:
        lines = [
            f"{self.read} read, {self.refused} refused, {sum(count for count, *_ in self.faults.values())} faults"
        ]
        lines += [f"{count} × {place} (seed {seed})\n{text}" for place, (count, seed, text) in self.faults.items()]
        return "\n".join(lines)


def judge(
    attempt: Callable[[random.Random], object],
    named: tuple[type[Exception], ...],
    seeds: range,
    seconds: int = SECONDS,
) -> Verdict:
    """Try one mutant a seed.

    Args:
        attempt: Makes a mutant by the generator it is given, and reads it.
        named: The errors that may come of it; their text must say something.
        seeds: One for each mutant.
        seconds: The most that one may take.
    """
    outcomes, faults = Counter[str](), dict[str, tuple[int, int, str]]()
    for seed in seeds:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fault, text = "", ""
        try:
            with _limited(seconds):
                attempt(random.Random(seed))
            outcomes["read"] += 1
        except named as error:
            outcomes["refused"] += 1
            if not str(error).strip():
                fault = f"{type(error).__name__} without a text"
        except (Exception, TooSlowError) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            fault, text = f"{type(error).__name__} at {frame.filename}:{frame.lineno}", traceback.format_exc(-6)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory > GIGABYTE:
            fault = fault or "more than 1 GB of memory"
        if fault:
            count, first, told = faults.get(fault, (0, seed, text[-3000:]))
            faults[fault] = (count + 1, first, told)
    return Verdict(outcomes["read"], outcomes["refused"], faults)
