"""What a damaged file may do: be read, or be refused by a named error; soon, and within memory."""

import random
import resource
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

SECONDS = 5
"""Of the processor, so that a busy machine changes nothing."""
GIGABYTE = 2**20  # in kibibytes


class TooSlowError(BaseException):
    """Raised in what takes too long; no handler of Exception stops it."""


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _memory(reset: bool = False) -> int:
    """The most memory that this process had since the last reset, in kibibytes; since its start where none is told."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


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
        seconds: The most that one may take, of the processor's time.
    """
    outcomes, faults = Counter[str](), dict[str, tuple[int, int, str]]()
    for seed in seeds:
        memory = _memory(reset=True)
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
        if _memory() - memory > GIGABYTE:
            fault = fault or "more than 1 GB of memory"
        if fault:
            count, first, told = faults.get(fault, (0, seed, text[-3000:]))
            faults[fault] = (count + 1, first, told)
    return Verdict(outcomes["read"], outcomes["refused"], faults)
