"""Time and memory of compared calls, measured in turns so that drift of the machine affects all equally."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd.profiler import profile
from torch.utils.benchmark import timer

_MEMORY_EVENT = "[memory]"


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Case:
    """One call to measure.

    Attributes:
        run: The call.
        prepare: Called before it, outside the measured time.
    """

    run: Callable[[], Any]
    prepare: Callable[[], Any] = _nothing


@dataclass(frozen=True)
class Times:
    """Seconds per call.

    Attributes:
        seconds: (R,) float64, one value per round.
    """

    seconds: np.ndarray

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile, in seconds."""
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float(low), float(high)

    def ratio_to(self, reference: "Times") -> float:
        """Median over rounds of this call's time divided by that of `reference` in the same round."""
        return float(np.median(self.seconds / reference.seconds))


def interleaved(
    cases: Mapping[str, Case], *, rounds: int, budget: float = 60.0, shortest: float = 0.05, seed: int = 0
) -> dict[str, Times]:
    """Time every case once per round, in a new random order each round.

    A case is called once to warm up, compilation included, and once to find how many calls last `shortest`. The clock
    is read after the accelerator has finished (`torch.utils.benchmark.timer`).

    Args:
        cases: Calls by name.
        rounds: Rounds R.
        budget: Seconds after which no further round begins; two are always done, unless `rounds` is 1.
        shortest: Least seconds of a measurement; a quick case is called several times.
        seed: Seed of the orders.

    Returns:
        The times of every case, by name.
    """
    counts = {}
    for name, case in cases.items():
        case.prepare()
        case.run()
        counts[name] = max(1, min(10_000, round(shortest / max(_timed(case, 1), 1e-9))))
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    order, generator, started = list(cases), random.Random(seed), time.perf_counter()
    for done in range(rounds):
        if done >= 2 and time.perf_counter() - started > budget:
            break
        generator.shuffle(order)
        for name in order:
            seconds[name].append(_timed(cases[name], counts[name]))
    return {name: Times(np.array(values)) for name, values in seconds.items()}


def _timed(case: Case, count: int) -> float:
    """Seconds per call."""
    case.prepare()
    started = timer()
    for _ in range(count):
        case.run()
    return (timer() - started) / count


def peak_memory(case: Case, device: torch.device) -> int:
    """Measure the peak memory of a call, on top of what is in use before it.

    An accelerator's caching allocator counts it. On the CPU, torch's profiler records allocations and releases: every
    tensor counts to the byte, but allocations inside libraries (oneDNN, MKL) do not. Weights and anything else made
    before the call are not included.

    Args:
        case: The call; it should have run once before.
        device: Its device.

    Returns:
        Bytes.
    """
    case.prepare()
    if device.type != "cpu":
        torch.accelerator.synchronize()
        before = torch.accelerator.memory_allocated()
        torch.accelerator.reset_peak_memory_stats()
        case.run()
        torch.accelerator.synchronize()
        return torch.accelerator.max_memory_allocated() - before
    with profile(profile_memory=True) as recorded:
        case.run()
    events = recorded.kineto_results.events()
    changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == _MEMORY_EVENT]
    return int(np.cumsum([0, *(size for _, size in sorted(changes, key=lambda change: change[0]))]).max())


def columns(name: str, times: Times, reference: Times | None = None) -> dict[str, float]:
    """Columns of a table for one measured call: median and quartiles in ms, and its ratio to `reference`."""
    low, high = times.quartiles
    row = {f"{name}_ms": 1e3 * times.median, f"{name}_q1_ms": 1e3 * low, f"{name}_q3_ms": 1e3 * high}
    return row if reference is None else row | {f"{name}_ratio": times.ratio_to(reference)}
