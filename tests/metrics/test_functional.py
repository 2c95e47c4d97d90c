import json

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as tm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from sct_hf.errors import InputError
from sct_hf.metrics import METRICS, multilabel_metrics

FLAT = [key for key in METRICS if key not in ("AP", "num_images")]


def case(rows=200, labels=7, unknown=0.2, levels=None, seed=0):
    """Scores in [0, 1], on `levels` values if given (ties); every label has known positives and negatives."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, labels)) < np.linspace(0.05, 0.6, labels)).astype(np.float32)
    scores = 1 / (1 + np.exp(-(rng.normal(size=targets.shape) + 2 * targets - 1)))
    if levels:
        scores = np.round(scores * levels) / levels
    targets[rng.random(targets.shape) < unknown] = -1
    targets[0], targets[1] = 1, 0
    return scores.astype(np.float32), targets


def slow_average_precisions(scores, positive):
    """All-point, 11-point and plain AP of one label, threshold by threshold, as the development kit defines them."""
    points = []
    for limit in sorted(set(scores), reverse=True):
        chosen = [hit for score, hit in zip(scores, positive, strict=True) if score >= limit]
        points.append((sum(chosen), sum(chosen) / len(chosen)))
    total = points[-1][0]
    envelope = [max(p for h, p in points if h >= hits) for hits, _ in points]
    steps = [hits - before for (hits, _), before in zip(points, [0] + [h for h, _ in points], strict=False)]
    return (
        sum(step * p for step, p in zip(steps, envelope, strict=True)) / total,
        sum(max(p for h, p in points if 10 * h >= tenth * total) for tenth in range(11)) / 11,
        sum(step * p for step, (_, p) in zip(steps, points, strict=True)) / total,
    )


def slow_top3(scores, targets):
    chosen = np.zeros(scores.shape, dtype=bool)
    for row, label in np.ndindex(scores.shape):
        rivals = scores[row, (targets[row] >= 0)]
        chosen[row, label] = scores[row, label] >= 0.5 and (rivals > scores[row, label]).sum() < 3
    return chosen


@pytest.mark.parametrize("levels", [None, 10])
def test_average_precision_equals_the_slow_form_sklearn_and_torchmetrics(levels):
    scores, targets = case(levels=levels)
    result = multilabel_metrics(scores, targets)
    known = [targets[:, k] >= 0 for k in range(targets.shape[1])]
    slow = np.array([slow_average_precisions(scores[m, k], targets[m, k] == 1) for k, m in enumerate(known)])
    np.testing.assert_allclose(list(result["AP"].values()), slow[:, 0], atol=1e-12)
    np.testing.assert_allclose([result[key] for key in FLAT[:3]], slow.mean(axis=0), atol=1e-12)
    sklearn = [average_precision_score(targets[m, k], scores[m, k]) for k, m in enumerate(known)]
    assert result["mAP_sklearn"] == pytest.approx(np.mean(sklearn), abs=1e-12)
    metric = tm.multilabel_average_precision(
        torch.from_numpy(scores), torch.from_numpy(targets).long(), num_labels=targets.shape[1], ignore_index=-1
    )
    assert result["mAP_sklearn"] == pytest.approx(metric.item(), abs=1e-6)


@pytest.mark.parametrize("threshold", [0.5, np.linspace(0.2, 0.8, 7)])
def test_decisions_equal_sklearn_label_by_label(threshold):
    scores, targets = case()
    result = multilabel_metrics(scores, targets, threshold)
    predicted = scores >= np.float32(threshold)
    known = targets >= 0
    per_label = [
        precision_recall_fscore_support(targets[m, k], predicted[m, k], average="binary", zero_division=0)[:3]
        for k, m in enumerate(known.T)
    ]
    cp, cr, f1 = np.mean(per_label, axis=0)
    expected = {"CP": cp, "CR": cr, "CF1": 2 * cp * cr / (cp + cr), "CF1_mean": f1}
    overall = precision_recall_fscore_support(targets[known], predicted[known], average="binary")
    expected |= dict(zip(("OP", "OR", "OF1"), overall, strict=False))
    expected["exact_match"] = np.mean([((t == 1) == p)[t >= 0].all() for t, p in zip(targets, predicted, strict=True)])
    assert {key: result[key] for key in expected} == pytest.approx(expected, abs=1e-12)


def test_decisions_equal_torchmetrics():
    scores, targets = case()
    result = multilabel_metrics(scores, targets)
    for average, names in {"macro": ("CP", "CR", "CF1_mean"), "micro": ("OP", "OR", "OF1")}.items():
        functions = tm.multilabel_precision, tm.multilabel_recall, tm.multilabel_f1_score
        for function, name in zip(functions, names, strict=True):
            value = function(
                torch.from_numpy(scores), torch.from_numpy(targets).long(), 7, average=average, ignore_index=-1
            )
            assert result[name] == pytest.approx(value.item(), abs=1e-6), name


@pytest.mark.parametrize("levels", [None, 10])
def test_top3_equals_decisions_on_the_three_highest(levels):
    scores, targets = case(labels=9, levels=levels)
    chosen = slow_top3(scores, targets)
    assert ((chosen & (targets >= 0)).sum(axis=1) > 3).any() == (levels is not None)  # ties at the third place
    plain = multilabel_metrics(chosen.astype(np.float32), targets)
    result = multilabel_metrics(scores, targets)
    for name in ("CP", "CR", "CF1", "CF1_mean", "OP", "OR", "OF1"):
        assert result[f"{name}_top3"] == plain[name]
    assert result["OR_top3"] < result["OR"]


def test_worked_by_hand():
    scores = np.array([[0.9, 0.6, 0.1], [0.8, 0.4, 0.2], [0.7, 0.3, 0.6], [0.2, 0.9, 0.3], [0.1, 0.1, 0.9]])
    targets = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, np.nan, 0], [0, 0, -1]])
    result = multilabel_metrics(scores, targets, label_names=["cat", "dog", "cow"])
    # cat: + − + + − → precision 1, 1/2, 2/3, 3/4, 3/5; envelope at the hits 1, 3/4, 3/4
    # dog: − + − − → precision 0, 1/2, 1/3, 1/4. cow: no positive, one wrong guess
    assert result["AP"] == {"cat": pytest.approx((1 + 0.75 + 0.75) / 3), "dog": pytest.approx(0.5), "cow": None}
    assert result["mAP"] == pytest.approx((2.5 / 3 + 0.5) / 2)
    assert result["mAP_11point"] == pytest.approx(((4 * 1 + 7 * 0.75) / 11 + 0.5) / 2)
    assert result["mAP_sklearn"] == pytest.approx(((1 + 2 / 3 + 3 / 4) / 3 + 0.5) / 2)
    # guesses 3, 1, 1; hits 2, 0, 0; positives 3, 1, 0; cow takes no part in the class means
    assert result["CP"] == result["CR"] == result["CF1"] == result["CF1_mean"] == pytest.approx(1 / 3)
    assert (result["OP"], result["OR"]) == (pytest.approx(2 / 5), pytest.approx(2 / 4))
    assert result["OF1"] == pytest.approx(4 / 9)
    assert result["exact_match"] == pytest.approx(1 / 5)  # the last image, its cow unknown
    assert result["num_images"] == 5


def test_keys_are_those_listed_and_the_result_is_plain_json():
    scores, targets = case()
    for result in (multilabel_metrics(scores, targets), multilabel_metrics(scores, np.zeros_like(targets))):
        assert list(result) == list(METRICS)
        assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_without_positives_or_known_targets_nothing_is_nan():
    scores, _ = case()
    for value in (0, -1, np.nan):
        result = multilabel_metrics(scores, np.full(scores.shape, value))
        assert [result[key] for key in FLAT[:3]] == [None] * 3
        assert set(result["AP"].values()) == {None}
        assert all(result[key] == 0 for key in FLAT[3:-1])
        assert 0 <= result["exact_match"] < 1


def test_perfect_scores_give_exactly_one():
    _, targets = case(rows=50, unknown=0)
    result = multilabel_metrics(targets, targets)
    assert {key: result[key] for key in FLAT if "top3" not in key} == {key: 1 for key in FLAT if "top3" not in key}


def test_threshold_is_inclusive_and_meets_scores_in_their_own_precision():
    scores = np.array([[0.7], [0.5]], dtype=np.float32)
    assert multilabel_metrics(scores, [[1], [0]], 0.7)["OF1"] == 1
    assert multilabel_metrics(scores, [[1], [0]], [0.7])["OF1"] == 1
    assert multilabel_metrics(scores, [[1], [1]])["OR"] == 1


def test_infinite_scores_are_ranked():
    result = multilabel_metrics([[np.inf], [3.0], [-np.inf], [-np.inf]], [[1], [1], [0], [0]], 0)
    assert result["mAP"] == result["OF1"] == 1


@st.composite
def small_cases(draw):
    shape = draw(st.integers(2, 12)), draw(st.integers(1, 6))
    scores = draw(arrays(np.float32, shape, elements=st.integers(-4, 4).map(float)))
    targets = draw(arrays(np.float32, shape, elements=st.sampled_from([1.0, 0.0, -1.0])))
    return scores, targets, draw(st.randoms(use_true_random=False))


def flat(result):
    return [np.nan if result[key] is None else result[key] for key in FLAT]


@settings(max_examples=60, deadline=None)
@given(small_cases())
def test_order_of_rows_and_labels_does_not_matter(drawn):
    scores, targets, random = drawn
    rows, labels = list(range(scores.shape[0])), list(range(scores.shape[1]))
    random.shuffle(rows)
    random.shuffle(labels)
    before = multilabel_metrics(scores, targets, 0)
    after = multilabel_metrics(scores[rows][:, labels], targets[rows][:, labels], 0, [str(k) for k in labels])
    assert after["AP"] == before["AP"]
    np.testing.assert_allclose(flat(after), flat(before), rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(small_cases())
def test_a_strictly_monotone_map_of_the_scores_changes_nothing(drawn):
    scores, targets, _ = drawn
    assert multilabel_metrics(scores**3 + 2 * scores, targets, 0) == multilabel_metrics(scores, targets, 0)


@settings(max_examples=60, deadline=None)
@given(small_cases())
def test_unknown_entries_do_not_matter(drawn):
    scores, targets, random = drawn
    noise = np.array([random.choice([-np.inf, -9.0, 0.0, 9.0]) for _ in range(scores.size)]).reshape(scores.shape)
    changed = np.where(targets < 0, noise, scores)
    extra = [[0.0] * scores.shape[1]]
    expected = multilabel_metrics(scores, targets, 0)
    result = multilabel_metrics(np.vstack([changed, extra]), np.vstack([targets, np.full_like(extra, np.nan)]), 0)
    assert result == expected | {"num_images": len(scores) + 1}


@settings(max_examples=60, deadline=None)
@given(small_cases())
def test_average_precisions_equal_the_slow_form(drawn):
    scores, targets, _ = drawn
    result = multilabel_metrics(scores, targets)
    slow = {}
    for label, (column, truth) in enumerate(zip(scores.T, targets.T, strict=True)):
        if (truth == 1).any():
            slow[str(label)] = slow_average_precisions(column[truth >= 0], truth[truth >= 0] == 1)
    assert {name: ap for name, ap in result["AP"].items() if ap is not None} == pytest.approx(
        {name: values[0] for name, values in slow.items()}, abs=1e-12
    )
    if slow:
        expected = np.mean(list(slow.values()), axis=0)
        np.testing.assert_allclose([result[key] for key in FLAT[:3]], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(scores=[0.1, 0.2]), r"scores has shape \(2,\)"),
        (dict(scores=np.zeros((0, 2))), r"scores has shape \(0, 2\)"),
        (dict(scores=[[0.1, 0.2], [0.3]]), "scores is no array"),
        (dict(scores=[["a", "b"], ["c", "d"]]), "scores is no array"),
        (dict(scores=[[0.1, np.nan], [0.3, 0.4]]), "scores has 1 NaN, the first at row 0, label 1"),
        (dict(targets=[[1, 0]]), r"targets has shape \(1, 2\) but scores has \(2, 2\)"),
        (dict(targets=[[1, 0], [0.5, 2]]), "targets has 2 values outside .* the first 0.5 at row 1, label 0"),
        (dict(targets=[[1, 0], [0, -2]]), "targets has 1 values outside"),
        (dict(targets=[[1, 0], [0, np.inf]]), "targets has 1 values outside"),
        (dict(threshold=[0.5] * 3), r"threshold has shape \(3,\)"),
        (dict(threshold=[[0.5], [0.5]]), r"threshold has shape \(2, 1\)"),
        (dict(threshold=np.nan), "threshold has a NaN"),
        (dict(label_names=["cat"]), "label_names has 1 names but scores has 2"),
        (dict(label_names=["cat", "cat"]), r"label_names has \['cat'\] more than once"),
    ],
)
def test_bad_input_is_named(arguments, message):
    valid = dict(scores=[[0.1, 0.2], [0.3, 0.4]], targets=[[1, 0], [0, 1]])
    with pytest.raises(InputError, match=message):
        multilabel_metrics(**valid | arguments)
