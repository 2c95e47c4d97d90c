"""Fits of learning curves, beside scipy, and what a forecast holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from sct_hf.training.power_law import PowerLaw, fit_power_law, forecast

SIZES = np.array([100.0, 200.0, 400.0, 800.0])


@settings(max_examples=40, deadline=None)
@given(st.floats(0.6, 0.99), st.floats(0.5, 3), st.floats(0.2, 0.9))
def test_exact_data_give_the_law_that_made_them_as_scipy_does(a: float, b: float, c: float) -> None:
    law = PowerLaw(a, b, c)
    scores = a - b * SIZES**-c
    found = fit_power_law(SIZES, scores)
    (theirs, *_), _ = curve_fit(lambda n, a, b, c: a - b * n**-c, SIZES, scores, p0=(a * 0.9, b, 0.5), maxfev=20000)
    assert found.a == pytest.approx(a, abs=0.01)
    assert found.a == pytest.approx(theirs, abs=0.01)
    assert found.at(SIZES) == pytest.approx(np.maximum(scores, 0), abs=1e-4)
    assert found.at(1600) == pytest.approx(law.at(1600), abs=2e-3)


def test_the_fit_has_the_least_squares_of_a_grid() -> None:
    rng = np.random.default_rng(0)
    scores = 0.9 - 2 * SIZES**-0.4 + rng.normal(0, 0.01, 4)
    found = fit_power_law(SIZES, scores)
    error = ((found.at(SIZES) - scores) ** 2).sum()
    best = min(
        ((a - b * SIZES**-c - scores) ** 2).sum()
        for a in np.linspace(0.5, 1, 60)
        for b in np.linspace(0, 6, 80)
        for c in np.linspace(0.05, 1, 40)
    )
    assert error <= best


def test_a_score_stays_within_one_and_never_falls() -> None:
    steep = fit_power_law(SIZES, np.array([0.5, 0.7, 0.9, 1.0]))
    assert steep.at(1e6) == 1
    falling = fit_power_law(SIZES, np.array([0.9, 0.8, 0.7, 0.6]))
    assert falling.b == 0
    assert falling.at(10_000) == pytest.approx(0.75)


def test_exact_scores_are_forecast_exactly() -> None:
    law = PowerLaw(0.9, 3, 0.5)
    found = forecast(SIZES, np.tile(law.at(SIZES), (20, 1)), 1600, 800)
    assert found.score == pytest.approx(law.at(1600), abs=1e-3)
    assert found.gain == pytest.approx(law.at(1600) - law.at(800), abs=1e-3)
    assert found.low <= found.score <= found.high


def test_noise_widens_the_interval_but_what_all_sizes_share_not_the_gain() -> None:
    rng = np.random.default_rng(0)
    exact = PowerLaw(0.8, 3, 0.5).at(SIZES)
    shared = forecast(SIZES, exact + rng.normal(0, 0.02, (400, 1)), 1600, 800)
    apart = forecast(SIZES, exact + rng.normal(0, 0.02, (400, 4)), 1600, 800)
    assert shared.high - shared.low > 0.05
    assert shared.gain_high - shared.gain_low < 0.01 < apart.gain_high - apart.gain_low


@pytest.mark.parametrize("law", [PowerLaw(0.9, 3, 0.5), PowerLaw(0.85, 8, 0.7), PowerLaw(0.99, 1.2, 0.2)])
def test_intervals_hold_the_truth_about_nine_times_in_ten(law: PowerLaw) -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(100):
        measured = law.at(SIZES) + rng.normal(0, 0.01, 4)
        draws = measured + rng.normal(0, 0.01, (200, 4))
        found = forecast(SIZES, draws, 1600, 800)
        held += found.low <= law.at(1600) <= found.high
    assert held >= 80
