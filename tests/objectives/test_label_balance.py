import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sct_hf.data.label_counts import LabelCounts
from sct_hf.errors import InputError
from sct_hf.objectives.label_balance import BalanceOptions, label_focus

NAMES = ["ant", "bee", "cow", "dog"]
# Positives and negatives by hand: 1 and 3; 2 and 1; 0 and 4; 2 and 2.
TARGETS = np.array([[1, 1, 0, 1], [0, -1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [-1, np.nan, -1, np.nan]])
FOCUS = {"gamma_neg": 2.0, "gamma_pos": 0.5, "clip": 0.0}

Made = Callable[..., dict[str, list[float]]]


@pytest.fixture
def made() -> Made:
    counts = LabelCounts.of(TARGETS)

    def make(**options: Any) -> dict[str, list[float]]:
        focus = label_focus(BalanceOptions(**options), counts, NAMES, FOCUS)
        return {name: values.tolist() for name, values in focus.items()}

    return make


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "own.csv").write_text(text, encoding="utf-8")
        return str(tmp_path / "own.csv")

    return write


def test_counts_by_hand() -> None:
    counts = LabelCounts.of(TARGETS)
    assert counts.positives.tolist() == [1, 2, 0, 2]
    assert counts.negatives.tolist() == [3, 1, 4, 2]


def test_nothing_is_made_unasked(made: Made) -> None:
    assert made() == {}
    assert made(logit_adjustment=0.0) == {}


def test_positive_weights_by_hand(made: Made) -> None:
    """Negatives to positives; a label without positives counts one."""
    weights = made(positive_weights="auto")
    assert weights.keys() == {"positive_weight"}
    assert weights["positive_weight"] == pytest.approx([3, 0.5, 4, 1])
    roots = made(positive_weights="sqrt")
    assert roots["positive_weight"] == pytest.approx([math.sqrt(3), math.sqrt(0.5), 2, 1])


def test_logit_adjustment_is_the_log_odds_of_the_known_targets(made: Made) -> None:
    losses = made(logit_adjustment=0.5)
    priors = np.array([1 / 4, 2 / 3, 1 / 5, 2 / 4])  # the third with one positive more
    expected = 0.5 * np.log(priors / (1 - priors))
    assert losses["logit_shift"] == pytest.approx(expected)


def test_gammas_follow_the_log_odds_and_keep_their_mean(made: Made) -> None:
    losses = made(label_gammas="auto")
    rarity = [math.log(3), 0, math.log(4), 0]  # the second label is present more often than absent
    assert losses["gamma_neg"] == pytest.approx([2 * value * 4 / sum(rarity) for value in rarity])
    assert np.mean(losses["gamma_neg"]) == pytest.approx(2)
    balanced = LabelCounts(np.array([5, 5]), np.array([5, 5]), np.zeros(2))
    same = label_focus(BalanceOptions(label_gammas="auto"), balanced, ["a", "b"], FOCUS)
    assert same.keys() == {"gamma_neg"}
    assert same["gamma_neg"].tolist() == [2, 2]


def test_a_file_of_weights_and_one_of_exponents(made: Made, file: Callable[[str], str]) -> None:
    assert made(positive_weights=file("label,weight\ndog,3\nbee,0\n")) == {"positive_weight": [1, 0, 1, 3]}
    text = "gamma_pos,label,note\n1.5,cow,x\n"
    assert made(label_gammas=file(text)) == {"gamma_pos": [0.5, 0.5, 1.5, 0.5]}
    both = made(label_gammas=file("label,gamma_neg,gamma_pos\nant,4,1\n"), positive_weights="auto")
    assert both.keys() == {"positive_weight", "gamma_neg", "gamma_pos"}
    assert (both["gamma_neg"], both["gamma_pos"]) == ([4, 2, 2, 2], [1, 0.5, 0.5, 0.5])


def test_a_label_may_begin_like_a_formula(file: Callable[[str], str]) -> None:
    counts = LabelCounts(np.ones(2), np.ones(2), np.zeros(2))
    options = BalanceOptions(positive_weights=file("label,weight\n'=x,2\n+y,3\n"))
    made = label_focus(options, counts, ["=x", "+y"], FOCUS)
    assert made["positive_weight"].tolist() == [2, 3]


def test_a_label_may_be_called_like_a_missing_value(file: Callable[[str], str]) -> None:
    counts = LabelCounts(np.ones(2), np.ones(2), np.zeros(2))
    options = BalanceOptions(positive_weights=file("label,weight\nNA,2\n"))
    assert label_focus(options, counts, ["NA", "01"], FOCUS)["positive_weight"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,weight\ndogg,3\n", r"own\.csv, line 2 has the label 'dogg'; did you mean 'dog'"),
        ("label,weight\nzebra,3\n", "line 2 has the label 'zebra': it is none of the 4 labels"),
        ("label,weight\ndog,3\ndog,2\n", "line 3 has the label 'dog' again"),
        ("label,weight\ndog,3\nbee,-1\n", "line 3, weight is .*-1.*: give a number >= 0"),
        ("label,weight\ndog,\n", "line 2, weight is '': give a number"),
        ("label,weight\ndog,inf\n", "line 2, weight is .*inf"),
        ("label,count\ndog,3\n", "has the columns label, count: it needs label, and weight"),
        ("name,weight\ndog,3\n", "has the columns name, weight: it needs label, and weight"),
        ("", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used(made: Made, file: Callable[[str], str], text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(positive_weights=file(text))


def test_a_file_that_is_not_there(made: Made) -> None:
    with pytest.raises(InputError, match=r"label_gammas is 'absent\.csv', which cannot be read"):
        made(label_gammas="absent.csv")
