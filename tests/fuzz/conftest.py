"""How many mutants: a few by default, SCT_MUTANTS (2,000) in the slow form."""

import os
from collections.abc import Callable

import pytest


@pytest.fixture(params=["short", pytest.param("long", marks=pytest.mark.slow)])
def seeds(request: pytest.FixtureRequest) -> Callable[[int], range]:
    """The seeds of a kind's mutants: as many as are asked for in the short form; $SCT_FUZZ_SEED moves them."""
    start = int(os.environ.get("SCT_FUZZ_SEED", 0)) * 1_000_000
    many = int(os.environ.get("SCT_MUTANTS", 2_000))
    return lambda few: range(start, start + (many if request.param == "long" else few))
