import numpy as np
from scipy.special import expit

from sct_hf.benchmark.decisions import figures_by_fit, share_kept
from sct_hf.metrics.calibration import calibration_metrics
from sct_hf.training.folds import Scored

NAMES = ["cat", "dog"]


def _drawn(seed: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose half is the log odds."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, size=(images, 2)).astype(np.float32)
    return logits, (rng.random(logits.shape) < expit(logits / 2)).astype(np.int8)


def test_every_fit_leaves_a_fold_out_and_is_judged_on_other_images() -> None:
    logits, targets = _drawn(0, 600)
    targets[:200] = 1 - targets[:200]  # a fold that says the reverse
    fitted = Scored([*map(str, range(600))], NAMES, logits, targets, np.repeat([0, 1, 2], 200))
    fresh, truth = _drawn(1, 2000)
    found = figures_by_fit(fitted, fresh, truth)
    assert {len(values) for values in found.values()} == {3}
    assert found["Brier"][0] < min(found["Brier"][1:]) - 0.02  # only the first is spared
    assert found["ECE_mean"][0] < 0.05
    assert found["ECE_mean"][0] < calibration_metrics(expit(fresh), truth, NAMES)["ECE_mean"]


def test_guarantees_are_kept_and_those_out_of_reach_do_not_count() -> None:
    logits, targets = _drawn(2, 400)
    found = share_kept(logits, targets, NAMES, ["precision=0.8", "recall=0.8", "fdr=0.3", "recall=0.999"], draws=10)
    for name in ("precision=0.8", "recall=0.8", "fdr=0.3"):
        kept, reached = found[name]
        assert kept >= 0.8
        assert reached == 1
    assert found["recall=0.999"][1] == 0
