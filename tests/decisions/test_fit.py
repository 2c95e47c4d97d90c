import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import f1_score

from sct_hf.decisions import DEFAULT_PROFILES, fit_decisions, parse_profile
from sct_hf.decisions.balanced import f1_threshold_of_all, f1_thresholds
from sct_hf.errors import InputError
from sct_hf.metrics import parts
from sct_hf.metrics.calibration import calibration_metrics


def _drawn(seed: int, images: int = 400, labels: int = 4) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Logits that are half of the log odds, less a half: targets drawn by 2·logit + 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.2, size=(images, labels)).astype(np.float32)
    return logits, (rng.random(logits.shape) < expit(2 * logits + 1)).astype(np.int8), [*"abcdefgh"[:labels]]


def test_calibrated_scores_match_the_share_of_positives_of_new_images() -> None:
    logits, targets, names = _drawn(0, 1500)
    found = fit_decisions(logits, targets, names)
    fresh, truth, _ = _drawn(1, 4000)
    scores = expit(np.array(found.calibration["slope"]) * fresh + found.calibration["shift"])
    before, after = (calibration_metrics(one, truth, names) for one in (expit(fresh), scores))
    assert after["ECE_mean"] < 0.03 < before["ECE_mean"]
    assert after["Brier"] < before["Brier"]
    told = found.report["calibration"]
    assert told["after"]["ECE_mean"] == pytest.approx(after["ECE_mean"], abs=0.02)
    assert told["before"]["Brier"] == pytest.approx(before["Brier"], abs=0.02)


def test_balanced_reaches_nearly_the_best_f1_of_new_images() -> None:
    logits, targets, names = _drawn(2, 800)
    found = fit_decisions(logits, targets, names)
    fresh, truth, _ = _drawn(3, 5000)
    scores = expit(np.array(found.calibration["slope"]) * fresh + found.calibration["shift"])
    for label, threshold in enumerate(found.thresholds["balanced"]):
        best = max(f1_score(truth[:, label], scores[:, label] >= cut) for cut in np.linspace(0.1, 0.9, 33))
        assert f1_score(truth[:, label], scores[:, label] >= threshold) > best - 0.01


def test_the_threshold_for_f1_is_that_of_an_exhaustive_search_on_known_probabilities() -> None:
    scores = np.random.default_rng(4).beta(0.3, 1.5, size=20_000)
    expected = [2 * scores[scores >= cut].sum() / ((scores >= cut).sum() + scores.sum()) for cut in scores[:2000]]
    assert f1_thresholds(scores[:, None])[0] == pytest.approx(scores[:2000][np.argmax(expected)], abs=0.01)


@given(st.integers(0, 10_000), st.sampled_from([1e-9, 1.0]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_threshold_for_f1_is_half_of_the_best_f1(seed: int, scale: float, rounded: bool) -> None:
    """Tagging the k highest scores, for each k; some scores are equal or 0."""
    rng = np.random.default_rng(seed)
    scores = scale * rng.beta(0.3, 1.5, size=(int(rng.integers(1, 40)), 4))
    scores = scores.round(1) if rounded else scores
    scores[:, 3] = 0

    def half(values: np.ndarray) -> float:
        ranked = np.sort(values)[::-1]
        found = [sum(ranked[:count]) / (count + ranked.sum()) for count in range(1, len(ranked) + 1)]
        return max(found) if ranked.any() else 0.5

    np.testing.assert_allclose(f1_thresholds(scores), [*map(half, scores.T)])
    assert f1_threshold_of_all(lambda: [scores[:, :1], scores[:, 1:]]) == pytest.approx(half(scores.ravel()))


def _same(found: object, expected: object) -> None:
    """Whether nested lists and objects are equal, numbers nearly."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        found, expected = [*found.items()], [*expected.items()]
    if isinstance(expected, list | tuple):
        assert isinstance(found, list | tuple)
        for one, other in zip(found, expected, strict=True):
            _same(one, other)
    else:
        assert found == (pytest.approx(expected, rel=1e-6) if isinstance(expected, float) else expected)


def test_labels_a_few_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets, names = _drawn(10, 150, 8)
    logits, targets = logits.astype(np.float64), targets.copy()
    targets[:, 2], targets[::7, 3] = 0, -1
    whole = fit_decisions(logits, targets, names, profiles=[*DEFAULT_PROFILES, "precision=0.6"])
    monkeypatch.setattr(parts, "_ENTRIES", 400)
    few = fit_decisions(logits, targets, names, profiles=[*DEFAULT_PROFILES, "precision=0.6"])
    _same(few, whole)


def test_guarantees_hold_on_the_images_of_the_fit_and_are_told_by_label() -> None:
    logits, targets, names = _drawn(5, 1500)
    targets[:, 3] = 0
    targets[:20, 3] = 1
    found = fit_decisions(logits, targets, names)
    told = found.report["profiles"]
    json.dumps(found.report, allow_nan=False)
    assert tuple(found.thresholds) == tuple(told) == DEFAULT_PROFILES
    for name in names[:3]:
        for kind in ("precision", "recall"):
            facts = told[f"{kind}=0.9"]["labels"][name]
            assert 0.9 <= facts["bound"] < facts[kind]
            assert facts["reason"] == ""
    assert found.thresholds["precision=0.9"][3] is None
    assert told["precision=0.9"]["labels"]["d"]["reason"] == "not reachable with 20 positives"
    assert found.thresholds["recall=0.9"][3] == 0  # all images have the label, so none is missed
    assert told["recall=0.9"]["labels"]["d"]["reason"] == "not reachable with 20 positives but by all images"
    assert told["fdr=0.1"]["estimate"] <= 0.1
    assert len(set(found.thresholds["fdr=0.1"])) == 1


def test_a_label_without_positives_has_the_balanced_threshold_of_all() -> None:
    logits, targets, names = _drawn(6)
    targets[:, 0], targets[1:, 1] = 0, -1
    found = fit_decisions(logits, targets, names, profiles=["balanced"])
    facts = found.report["profiles"]["balanced"]["labels"]
    assert facts["a"]["threshold"] == facts["b"]["threshold"] != facts["c"]["threshold"]
    assert facts["a"]["reason"].startswith("fewer than 2 positives")


@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_in_a_hierarchy_no_image_has_a_label_without_its_parents(seed: int) -> None:
    """d is below b and c, these below a; scores of parents are never lower, as the model makes them."""
    logits, targets, names = _drawn(seed, 150)
    parents = {"b": ["a"], "c": ["a"], "d": ["b", "c"]}
    for above, below in ((1, 3), (2, 3), (0, 1), (0, 2)):
        logits[:, above] = np.maximum(logits[:, above], logits[:, below])
        targets[:, above] |= targets[:, below]
    found = fit_decisions(
        logits, targets, names, parents, profiles=["balanced", "precision=0.7", "recall=0.8", "fdr=0.2"]
    )
    assert len(set(found.calibration["slope"])) == len(set(found.calibration["shift"])) == 1
    scores = expit(np.array(found.calibration["slope"]) * logits + found.calibration["shift"])
    for thresholds in found.thresholds.values():
        tags = scores >= np.array([np.inf if one is None else one for one in thresholds])
        for child, above in parents.items():
            for parent in above:
                assert (tags[:, names.index(parent)] >= tags[:, names.index(child)]).all()


def test_an_ordered_threshold_says_why() -> None:
    """The child is sure and frequent, the parent's own scores are noise above it: precision fails for both."""
    rng = np.random.default_rng(7)
    child = rng.random(500) < 0.5
    targets = np.stack([child, child], axis=1).astype(np.int8)
    logits = np.stack([np.full(500, 5.0), np.where(child, 4.0, -4.0)], axis=1)
    found = fit_decisions(logits, targets, ["animal", "cat"], {"cat": ["animal"]}, profiles=["precision=0.9"])
    assert found.thresholds["precision=0.9"] == [None, None]
    told = found.report["profiles"]["precision=0.9"]["labels"]
    assert told["cat"]["reason"] == "not reachable for its parent animal"
    alone = fit_decisions(logits, targets, ["animal", "cat"], profiles=["precision=0.9"])
    assert alone.thresholds["precision=0.9"][1] is not None


def test_one_seed_gives_one_result() -> None:
    logits, targets, names = _drawn(8)
    assert fit_decisions(logits, targets, names, seed=3) == fit_decisions(logits, targets, names, seed=3)


@pytest.mark.parametrize("text", ["balanced", "precision=0.9", " recall = 0.95 ", "fdr=0.10"])
def test_names_of_profiles_are_read(text: str) -> None:
    profile = parse_profile(text)
    kind, _, level = text.replace(" ", "").partition("=")
    assert (profile.kind, profile.level) == (kind, float(level) if level else None)
    assert parse_profile(profile.name) == profile


@pytest.mark.parametrize(
    "text", ["", "best", "precision", "precision=", "recall=1", "fdr=0", "fdr=nan", "balanced=0.5"]
)
def test_other_names_are_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(InputError, match=rf"profile is {re.escape(repr(text))}: give balanced, or one of precision="):
        parse_profile(text)


def test_the_layout_in_memory_changes_no_digit() -> None:
    logits, targets, names = _drawn(8)
    other = fit_decisions(np.asfortranarray(logits), np.asfortranarray(targets), names)
    assert other == fit_decisions(logits, targets, names)


def test_bad_input_is_named() -> None:
    logits, targets, names = _drawn(9)
    with pytest.raises(InputError, match="logits has 4 labels but label_names 3"):
        fit_decisions(logits, targets, names[:3])
    infinite = logits.copy()
    infinite[2, 1] = np.inf
    with pytest.raises(InputError, match="logits has infinity, the first at row 2, label 1"):
        fit_decisions(infinite, targets, names)
    with pytest.raises(InputError, match="no known positive or no known negative"):
        fit_decisions(logits, np.zeros_like(targets), names)
