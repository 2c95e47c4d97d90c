"""The judge of damaged files judges rightly."""

import json
import random
from collections.abc import Callable

import pytest

from sct_hf.errors import InputError
from tests.fuzz.judge import judge
from tests.fuzz.mutate import as_json, damaged_document


def _refuse(rng: random.Random) -> None:
    raise InputError("rho=7: give a number in [0, 1]")


def _say_nothing(rng: random.Random) -> None:
    raise InputError("")


def _loop(rng: random.Random) -> None:
    while True:
        try:
            sum(range(1000))
        except Exception:
            continue


@pytest.mark.parametrize(
    ("attempt", "fault"),
    [
        (_say_nothing, "InputError without a text"),
        (lambda rng: {}["a"], "KeyError"),
        (lambda rng: int("a"), "ValueError"),
        (_loop, "TooSlowError"),
        (lambda rng: len(b"1" * 1_500_000_000), "more than 1 GB"),
    ],
)
def test_faults(attempt: Callable[[random.Random], object], fault: str) -> None:
    for _ in range(2):  # the second time, too: what was there before is not counted
        verdict = judge(attempt, (InputError,), range(1), seconds=60 if attempt is not _loop else 1)
        assert [place.startswith(fault) for place in verdict.faults] == [True]


def test_what_is_no_fault() -> None:
    verdict = judge(lambda rng: rng.random() < 0.5 or _refuse(rng), (InputError,), range(100))
    assert not verdict.faults
    assert verdict.read + verdict.refused == 100
    assert 20 < verdict.read < 80


def test_documents_are_damaged_as_the_seed_says() -> None:
    sound = {"rho": 0.5, "names": ["dog", "cat"], "more": {"deep": [1, 2, {"a": None}]}}

    def mutants(start: int) -> list[bytes]:
        seeds = map(random.Random, range(start, start + 500))
        return [as_json(damaged_document(sound, rng), rng) for rng in seeds]

    assert mutants(0) == mutants(0)
    assert mutants(0) != mutants(500)
    assert len({*mutants(0)} - {json.dumps(sound).encode()}) > 300
