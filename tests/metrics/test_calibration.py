import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from torchmetrics.classification import BinaryCalibrationError

from sct_hf.errors import InputError
from sct_hf.metrics.calibration import calibration_metrics, reliability_curve

NAMES = ["cat", "dog", "owl"]


def _pairs(seed: int, images: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.4, 0.8, size=(images, 3)).astype(np.float32)
    return scores, np.where(rng.random(scores.shape) < 0.2, -1, rng.random(scores.shape) < scores**2).astype(np.int8)


@pytest.mark.parametrize("seed", range(3))
def test_errors_are_those_of_torchmetrics(seed: int) -> None:
    scores, targets = _pairs(seed)
    found = calibration_metrics(scores, targets, NAMES)

    def reference(rows: np.ndarray, columns: slice | int) -> float:
        metric = BinaryCalibrationError(n_bins=15, norm="l1")
        return float(metric(*(torch.from_numpy(one[:, columns][rows]) for one in (scores, targets))))

    assert found["ECE"] == pytest.approx(reference(targets >= 0, slice(None)), abs=1e-6)
    by_label = [reference(targets[:, label] >= 0, label) for label in range(3)]
    assert list(found["ECE_by_label"].values()) == pytest.approx(by_label, abs=1e-6)
    assert found["ECE_mean"] == pytest.approx(np.mean(by_label), abs=1e-6)


def test_brier_score_and_curve_are_those_of_sklearn() -> None:
    scores, targets = _pairs(4)
    known = targets >= 0
    found = calibration_metrics(scores, targets, NAMES)
    assert found["Brier"] == pytest.approx(brier_score_loss(targets[known], scores[known]), abs=1e-7)
    curve = reliability_curve(scores, targets)
    positive, score = calibration_curve(targets[known], scores[known], n_bins=15)
    np.testing.assert_allclose(curve["positive"], positive)
    np.testing.assert_allclose(curve["score"], score, rtol=1e-5)
    assert sum(curve["pairs"]) == known.sum()


def test_groups_are_means_of_their_labels() -> None:
    scores, targets = _pairs(5)
    found = calibration_metrics(scores, targets, NAMES, ["rare", "frequent", "rare"])
    by_label = found["ECE_by_label"]
    assert found["ECE_rare"] == pytest.approx((by_label["cat"] + by_label["owl"]) / 2)
    assert found["ECE_frequent"] == by_label["dog"]
    assert found["ECE_common"] is None


def test_a_case_by_hand() -> None:
    """Ten images at 0.8 with five positives are 0.3 off; unknown ones say nothing."""
    scores = np.array([[0.8, 0.5]] * 10)
    targets = np.array([[1, -1]] * 5 + [[0, -1]] * 5)
    found = calibration_metrics(scores, targets, ["cat", "dog"])
    assert found["ECE"] == found["ECE_mean"] == pytest.approx(0.3)
    assert found["Brier"] == pytest.approx((0.04 + 0.64) / 2)
    assert found["ECE_by_label"]["dog"] is None
    nothing = calibration_metrics(scores, np.full_like(targets, -1), ["cat", "dog"])
    assert nothing["ECE"] is nothing["ECE_mean"] is nothing["Brier"] is None


def test_logits_are_refused() -> None:
    with pytest.raises(InputError, match=r"scores range from -3 to 2: give probabilities"):
        calibration_metrics(np.array([[-3.0, 2.0]]), np.array([[0, 1]]), ["cat", "dog"])
