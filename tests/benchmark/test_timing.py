import time

import numpy as np
import pytest
import torch

from sct_hf.benchmark import timing
from sct_hf.benchmark.timing import Case, Times, columns, interleaved, peak_memory

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only the cases move."""
    now = [0.0]
    monkeypatch.setattr(timing, "timer", lambda: now[0])
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def lasting(clock: list[float], seconds: float, log: list[str], name: str) -> Case:
    def run() -> None:
        clock[0] += seconds
        log.append(name)

    def prepare() -> None:
        clock[0] += 1000.0  # must not count

    return Case(run, prepare)


def test_cases_take_turns_and_quick_ones_are_repeated(clock: list[float]) -> None:
    log: list[str] = []
    cases = {"slow": lasting(clock, 2.0, log, "slow"), "quick": lasting(clock, 0.25, log, "quick")}
    times = interleaved(cases, rounds=3, budget=1e9, shortest=1.0)
    np.testing.assert_allclose(times["slow"].seconds, [2.0] * 3)
    np.testing.assert_allclose(times["quick"].seconds, [0.25] * 3)
    assert log[:4] == ["slow", "slow", "quick", "quick"]  # warm-up and a first look
    for round_ in range(3):
        assert sorted(log[4 + 5 * round_ : 9 + 5 * round_]) == ["quick"] * 4 + ["slow"]
    assert len(log) == 4 + 3 * 5


def test_the_budget_ends_the_rounds_but_two_are_done(clock: list[float]) -> None:
    times = interleaved({"only": lasting(clock, 5.0, [], "only")}, rounds=9, budget=1.0, shortest=1.0)
    assert times["only"].seconds.shape == (2,)


def test_drift_leaves_the_ratio_alone() -> None:
    drift = np.array([1.0, 2.0, 5.0, 1.5])
    own, reference = Times(3.0 * drift), Times(drift)
    assert own.ratio_to(reference) == pytest.approx(3.0)
    row = columns("step", own, reference)
    assert row == {
        "step_ms": pytest.approx(1e3 * 3 * 1.75),
        "step_q1_ms": pytest.approx(1e3 * 3 * np.quantile(drift, 0.25)),
        "step_q3_ms": pytest.approx(1e3 * 3 * np.quantile(drift, 0.75)),
        "step_ratio": pytest.approx(3.0),
    }


def test_peak_memory_is_what_lives_at_once() -> None:
    count = 250_000  # a megabyte of float32

    def one_after_the_other() -> None:
        for _ in range(5):
            torch.zeros(count)

    def all_at_once() -> None:
        kept = [torch.zeros(count) for _ in range(5)]
        kept.clear()

    given = torch.zeros(10 * count)
    assert peak_memory(Case(one_after_the_other), CPU) == pytest.approx(1e6, rel=1e-3)
    assert peak_memory(Case(all_at_once), CPU) == pytest.approx(5e6, rel=1e-3)
    assert peak_memory(Case(lambda: given.add_(1)), CPU) < 1000  # what was there before does not count
