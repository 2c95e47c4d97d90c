from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, logit
from sklearn.metrics import f1_score, precision_score, recall_score

from sct_hf.metrics.calibration import calibration_metrics, reliability_curve
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.model.configuration_sct import SCTConfig
from sct_hf.training.acting import OWN, acting_metrics, uncalibrated
from sct_hf.training.reliability_figure import reliability_figure
from sct_hf.training.report import format_table

NAMES = ["cat", "dog", "owl"]
CALIBRATION = {"slope": [2.0, 1.0, 0.5], "shift": [-1.0, 0.0, 1.0]}
PROFILES = {"balanced": [0.4, 0.5, 0.3], "precision=0.9": [0.8, None, 0.9]}


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scores = rng.beta(0.6, 0.8, size=(200, 3)).astype(np.float32)
    return scores, np.where(rng.random(scores.shape) < 0.1, -1, rng.random(scores.shape) < scores).astype(np.int8)


def config(**given: object) -> SCTConfig:
    return SCTConfig(id2label=dict(enumerate(NAMES)), **given)


def test_each_profile_has_the_figures_of_sklearn(scored: tuple[np.ndarray, np.ndarray]) -> None:
    scores, targets = scored
    found = acting_metrics(scores, targets, config(thresholds=PROFILES))["profiles"]
    assert list(found) == list(PROFILES)
    for name, thresholds in PROFILES.items():
        for label, threshold in enumerate(thresholds):
            rows = targets[:, label] >= 0
            tags = scores[rows, label] >= np.float32(2 if threshold is None else threshold)
            truth, told = targets[rows, label], found[name]["labels"][NAMES[label]]
            assert told["recall"] == pytest.approx(recall_score(truth, tags))
            assert told["F1"] == pytest.approx(f1_score(truth, tags))
            assert told["precision"] == (pytest.approx(precision_score(truth, tags)) if tags.any() else None)
        f1 = [label["F1"] for label in found[name]["labels"].values()]
        assert found[name]["CF1_mean"] == pytest.approx(np.mean(f1))
    assert [found[name]["not_reachable"] for name in PROFILES] == [0, 1]
    shares = []
    for row, truth in zip(scores, targets, strict=True):
        tags = truth[(row >= np.float32(PROFILES["balanced"])) & (truth >= 0)]
        shares.append((tags == 0).mean() if len(tags) else 0)
    assert found["balanced"]["false_tags"] == pytest.approx(np.mean(shares))


def test_thresholds_without_a_name_and_none_at_all(scored: tuple[np.ndarray, np.ndarray]) -> None:
    scores, targets = scored
    found = acting_metrics(scores, targets, config(thresholds=[0.5] * 3))["profiles"]
    assert list(found) == [OWN]
    assert found[OWN]["OF1"] == multilabel_metrics(scores, targets)["OF1"]
    plain = acting_metrics(scores, targets, config())
    assert list(plain) == ["calibration"]
    assert "before" not in plain["calibration"]


def test_before_is_what_the_logits_alone_give(scored: tuple[np.ndarray, np.ndarray]) -> None:
    raw, targets = scored[0].clip(0.01, 0.99), scored[1]
    slope, shift = (np.array(CALIBRATION[name]) for name in ("slope", "shift"))
    scores = expit(slope * logit(raw) + shift).astype(np.float32)
    found = acting_metrics(scores, targets, config(calibration=CALIBRATION), ["rare", "rare", "frequent"])
    before = found["calibration"].pop("before")
    wanted = calibration_metrics(raw, targets, NAMES)
    assert before["Brier"] == pytest.approx(wanted["Brier"], abs=1e-5)
    assert before["ECE_mean"] == pytest.approx(wanted["ECE_mean"], abs=1e-3)
    assert before.keys() == found["calibration"].keys() >= {"ECE_rare", "ECE_common", "ECE_frequent"}
    assert np.isfinite(uncalibrated(np.array([[0.0, 1.0, 0.5]], dtype=np.float32), CALIBRATION)).all()


def test_the_table_shows_profiles_and_calibration(scored: tuple[np.ndarray, np.ndarray]) -> None:
    scores, targets = scored
    metrics = multilabel_metrics(scores, targets, label_names=NAMES)
    acting = acting_metrics(scores, targets, config(thresholds=PROFILES, calibration=CALIBRATION))
    lines = format_table(metrics | acting, NAMES).splitlines()
    (row,) = [line.split() for line in lines if line.startswith("precision=0.9")]
    assert row[-1] == f"{100 * acting['profiles']['precision=0.9']['OF1']:.1f}"
    (row,) = [line.split() for line in lines if line.startswith("before")]
    assert row[-1] == f"{acting['calibration']['before']['Brier']:.4f}"


def test_reliability_diagrams_show_both_curves(scored: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    scores, targets = scored
    parts = {
        when: {"ECE": 0.1, "curve": reliability_curve(one, targets)}
        for when, one in (("before", scores**3), ("after", scores))
    }
    reliability_figure(parts, tmp_path / "both.png")
    reliability_figure(parts | {"before": parts["after"]}, tmp_path / "same.png")
    both, same = (np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")) for name in ("both", "same"))
    height, width = both.shape
    top = height // 5  # below the titles
    assert (both[top:, : width // 2] != same[top:, : width // 2]).any()
    np.testing.assert_array_equal(both[top:, width // 2 :], same[top:, width // 2 :])
