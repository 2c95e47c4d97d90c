import numpy as np
import pytest

from sct_hf.errors import InputError
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.metrics.zero_shot import chance_mAP, top_k_metrics, zero_shot_metrics


def by_hand(scores: np.ndarray, targets: np.ndarray, k: int) -> tuple[float, float, float]:
    """Precision, recall and F1 of k tags an image, image by image."""
    hits = guesses = truths = 0
    for row, truth in zip(scores, targets, strict=True):
        known = [label for label in range(len(row)) if truth[label] in (0, 1)]
        chosen = sorted(known, key=lambda label: (-row[label], label))[:k]
        hits += sum(truth[label] == 1 for label in chosen)
        guesses += len(chosen)
        truths += sum(truth[label] == 1 for label in known)
    precision, recall = hits / guesses, hits / truths
    return precision, recall, 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_top_k_figures_are_those_of_a_count_by_hand(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.integers(0, 6, (50, 7)) / 5  # with ties
    targets = rng.choice([0, 1, -1], (50, 7), p=[0.6, 0.3, 0.1]).astype(float)
    targets[3] = -1
    targets[4, 2] = np.nan
    found = top_k_metrics(scores, targets, k)
    assert list(found.values()) == pytest.approx(by_hand(scores, targets, k))
    assert list(found) == [f"P@{k}", f"R@{k}", f"F1@{k}"]


def test_a_worked_case() -> None:
    scores = np.array([[0.9, 0.8, 0.1, 0.0], [0.1, 0.2, 0.3, 0.4]])
    targets = np.array([[1, 0, 1, 0], [0, 0, 0, 1]])
    assert top_k_metrics(scores, targets, 2) == {"P@2": 0.5, "R@2": pytest.approx(2 / 3), "F1@2": pytest.approx(4 / 7)}
    assert top_k_metrics(scores, np.zeros((2, 4)), 2) == {"P@2": 0, "R@2": 0, "F1@2": 0}
    with pytest.raises(InputError, match="k is 0"):
        top_k_metrics(scores, targets, 0)


def test_random_scores_come_to_chance() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((4000, 6)) < [0.02, 0.05, 0.1, 0.2, 0.4, 0.0]).astype(float)
    targets[rng.random(targets.shape) < 0.1] = -1
    chance = chance_mAP(targets)
    found = np.mean([multilabel_metrics(rng.random(targets.shape), targets)["mAP_sklearn"] for _ in range(20)])
    assert chance == pytest.approx(found, rel=0.04)
    assert chance_mAP(np.zeros((3, 2))) is None


def test_both_settings_and_their_parts() -> None:
    rng = np.random.default_rng(1)
    seen, unseen = ["a", "b", "c"], ["x", "y"]
    targets = rng.integers(0, 2, (30, 5)).astype(float)
    targets[:, 4] = 0  # no positive of y
    zsl, gzsl = rng.random((30, 2)), rng.random((30, 5))
    found = zero_shot_metrics(zsl, gzsl, targets, seen=seen, unseen=unseen)
    alone, together = multilabel_metrics(zsl, targets[:, 3:]), multilabel_metrics(gzsl, targets)
    assert found["ZSL_mAP"] == alone["mAP"] == alone["AP"]["0"]
    assert found["ZSL_AP"] == {"x": alone["AP"]["0"], "y": None}
    assert found["GZSL_mAP"] == together["mAP"]
    assert found["GZSL_seen_mAP"] == pytest.approx(multilabel_metrics(gzsl[:, :3], targets[:, :3])["mAP"])
    assert found["GZSL_unseen_mAP"] == pytest.approx(multilabel_metrics(gzsl[:, 3:], targets[:, 3:])["mAP"])
    assert found["ZSL_F1@3"] == top_k_metrics(zsl, targets[:, 3:], 3)["F1@3"]
    assert found["GZSL_F1@5"] == top_k_metrics(gzsl, targets, 5)["F1@5"]
    assert found["GZSL_chance_mAP"] == pytest.approx(targets[:, :4].mean())
    assert (found["seen_labels"], found["unseen_labels"]) == (seen, unseen)
    with pytest.raises(InputError):
        zero_shot_metrics(gzsl, gzsl, targets, seen=seen, unseen=unseen)
