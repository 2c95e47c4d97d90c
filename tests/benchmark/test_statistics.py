import math

import numpy as np
import pytest
from scipy import stats

from sct_hf.benchmark.statistics import paired_difference, spread


def test_spread_by_hand() -> None:
    assert spread([1.0, 2.0, 6.0]) == (3.0, pytest.approx(math.sqrt(7)), 3)
    mean, deviation, n = spread([5.0])
    assert (mean, n) == (5.0, 1)
    assert math.isnan(deviation)


def test_paired_difference_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    keys = [(fold, seed) for fold in range(3) for seed in range(4)]
    base = dict(zip(keys, rng.normal(80, 5, 12), strict=True))
    values = {key: value + rng.normal(0.5, 0.2) for key, value in base.items()}
    shuffled = {key: values[key] for key in reversed(keys)} | {(9, 9): 1000.0}  # found by key; no partner, no part
    found = paired_difference(shuffled, base)
    assert found is not None
    test = stats.ttest_rel([values[key] for key in keys], [base[key] for key in keys])
    assert found.n == 12
    assert found.mean / found.standard_error == pytest.approx(test.statistic)
    assert found.standard_error == pytest.approx(stats.sem([values[key] - base[key] for key in keys]))


def test_without_pairs() -> None:
    assert paired_difference({(0, 0): 1.0}, {(1, 0): 1.0}) is None
    found = paired_difference({(0, 0): 3.0}, {(0, 0): 1.0})
    assert found is not None
    assert found.mean == 2
    assert math.isnan(found.standard_error)
