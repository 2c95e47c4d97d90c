import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import log_loss

from sct_hf.decisions.platt import STRENGTHS, choose_platt, total_log_loss, uncalibrated


def _drawn(seed: int, images: int, slopes: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C), and targets drawn with the probability sigmoid(slope · logit + shift)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1.5, 2, size=(images, len(slopes)))
    return logits, (rng.random(logits.shape) < expit(slopes * logits + shifts)).astype(np.int8)


def test_many_images_recover_each_labels_own_pair() -> None:
    slopes, shifts = np.array([0.5, 1.0, 2.0]), np.array([1.0, -1.0, 0.0])
    logits, targets = _drawn(2, 20_000, slopes, shifts)
    chosen = choose_platt(logits, targets, strengths=STRENGTHS, seed=0)
    np.testing.assert_allclose(chosen.calibration.slope, slopes, atol=0.1)
    np.testing.assert_allclose(chosen.calibration.shift, shifts, atol=0.1)
    assert np.isfinite(chosen.calibration.shrinkage)


def test_labels_alike_share_a_pair_and_the_stronger_shrinkage_loses_less() -> None:
    """Forty labels of one pair with 100 images each: own pairs only add noise."""
    logits, targets = _drawn(3, 100, np.full(40, 1.5), np.full(40, 0.5))
    chosen = choose_platt(logits, targets, strengths=STRENGTHS, seed=0)
    assert chosen.calibration.shrinkage >= 16
    assert chosen.log_losses[0] < chosen.log_losses[-1]


def test_a_label_without_positives_or_negatives_has_the_shared_pair() -> None:
    logits, targets = _drawn(4, 400, np.array([0.5, 2.0, 1.0, 1.0, 1.0]), np.array([1.0, -1.0, 0.0, 0.0, 0.0]))
    targets[:, 2], targets[:, 3], targets[:, 4] = 0, 1, -1
    fitted = choose_platt(logits, targets, strengths=STRENGTHS[-1:], seed=0).calibration
    shared = choose_platt(logits, targets, strengths=STRENGTHS[:1], seed=0).calibration
    np.testing.assert_array_equal(fitted.slope[2:], shared.slope[2:])
    np.testing.assert_array_equal(fitted.shift[2:], shared.shift[2:])
    assert abs(fitted.slope[0] - fitted.slope[1]) > 0.5


def test_unknown_targets_change_nothing() -> None:
    logits, targets = _drawn(5, 300, np.ones(2), np.zeros(2))
    targets[::3] = -1
    moved = logits.copy()
    moved[::3] = 1e3
    first, second = (
        choose_platt(one, targets, strengths=STRENGTHS[2:3], seed=0).calibration for one in (logits, moved)
    )
    np.testing.assert_array_equal(first.slope, second.slope)
    np.testing.assert_array_equal(first.shift, second.shift)


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_any_logits_give_finite_pairs_that_keep_the_order(data: st.DataObject) -> None:
    """Separable, reversed, constant, huge and tiny logits; few images."""
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    shape = (data.draw(st.integers(2, 12)), data.draw(st.integers(1, 3)))
    targets = rng.integers(-1, 2, shape).astype(np.int8)
    targets[0, 0], targets[1, 0] = 0, 1
    kinds = {"random": rng.normal(size=shape), "separable": 2.0 * targets - 1, "reversed": -1.0 * targets}
    kinds["constant"] = np.ones(shape)
    logits = kinds[data.draw(st.sampled_from(sorted(kinds)))] * data.draw(st.sampled_from([0.0, 1e-6, 1.0, 1e4, 1e8]))
    chosen = choose_platt(logits, targets, strengths=STRENGTHS, seed=0)
    assert (chosen.calibration.slope > 0).all()
    assert np.isfinite([chosen.calibration.slope, chosen.calibration.shift]).all()
    assert np.isfinite(chosen.log_losses).all()
    again = choose_platt(logits, targets, strengths=STRENGTHS, seed=0)
    np.testing.assert_array_equal(chosen.calibration.slope, again.calibration.slope)


def test_the_log_loss_is_that_of_sklearn() -> None:
    logits, targets = _drawn(6, 50, np.ones(3), np.zeros(3))
    targets[:10, 1] = -1
    known = targets >= 0
    total = total_log_loss(uncalibrated(3), logits, targets)
    assert np.isclose(total, log_loss(targets[known], expit(logits[known]), normalize=False))
