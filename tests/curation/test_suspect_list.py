"""Suspects: which are listed, in which order, and with what evidence."""

import numpy as np
import pytest

from sct_hf.curation.suspect_list import list_suspects, ranking
from sct_hf.training.folds import Scored


def scored(logits: np.ndarray, targets: np.ndarray) -> Scored:
    names = [f"label {column}" for column in range(logits.shape[1])]
    ids = [f"{row}.png" for row in range(len(logits))]
    return Scored(ids, names, logits.astype(np.float32), targets.astype(np.int8), np.zeros(len(logits), int))


@pytest.fixture
def case() -> tuple[Scored, np.ndarray]:
    """200 images in 20 directions; label 0 is missing in image 3, given wrongly in image 5, unknown in image 7."""
    rng = np.random.default_rng(0)
    true = np.repeat(rng.random((20, 2)) < 0.5, 10, axis=0)
    logits = np.where(true, 4.0, -4.0) + rng.normal(size=true.shape)
    given = true.astype(int)
    logits[[3, 5], 0] = 9, -9
    given[[3, 5, 7], 0] = 0, 1, -1
    embeddings = np.repeat(np.eye(20), 10, axis=0)
    embeddings = np.hstack([embeddings, 2 * rng.normal(size=(200, 40)) / 40**0.5])  # similarity about 0.2
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return scored(logits, given), embeddings.astype(np.float32)


def test_the_two_wrong_labels_come_first(case: tuple[Scored, np.ndarray]) -> None:
    found = list_suspects(*case, most=10)
    first = {(each.row, each.label, each.given, each.kind) for each in found.suspects[:2]}
    assert first == {(3, 0, False, "missing"), (5, 0, True, "wrong")}
    assert [each.score for each in found.suspects] == sorted((each.score for each in found.suspects), reverse=True)
    assert all((each.there >= 0.5) != each.given for each in found.suspects)
    assert found.expected == pytest.approx(np.nansum(found.wrong))
    assert np.isnan(found.wrong[7, 0])


def test_no_more_than_asked_for(case: tuple[Scored, np.ndarray]) -> None:
    assert len(list_suspects(*case, most=1).suspects) == 1


def test_witnesses_have_the_suggested_value_and_neighbours_are_counted(case: tuple[Scored, np.ndarray]) -> None:
    data, embeddings = case
    for each in list_suspects(data, embeddings, most=2).suspects:
        value = 0 if each.given else 1
        assert all(data.targets[row, 0] == value for row in each.witnesses)
        near = np.argsort(-(embeddings @ embeddings[each.row]))
        ten = [row for row in near if row != each.row][:10]
        assert each.judged == sum(data.targets[row, 0] >= 0 for row in ten)
        assert each.agreeing == sum(data.targets[row, 0] == value for row in ten)


def test_twins_with_different_labels_are_listed_once_whatever_their_rank(case: tuple[Scored, np.ndarray]) -> None:
    data, embeddings = case
    logits, targets = data.logits.copy(), data.targets.copy()
    embeddings[101] = embeddings[150]
    logits[[101, 150], 1] = 4, -1.0
    targets[[101, 150], 1] = 1, 0
    targets[[101, 150], 0] = -1, 1  # not judged in one of them: no difference
    found = list_suspects(scored(logits, targets), embeddings, most=1)
    assert [(pair.first, pair.second) for pair in found.pairs] == [(101, 150)]
    twins = [each for each in found.suspects if each.kind == "twins"]
    assert [(each.row, each.label, each.twin) for each in twins] == [(150, 1, 101)]


def test_twins_are_no_more_than_asked_for(case: tuple[Scored, np.ndarray]) -> None:
    data, embeddings = case
    embeddings[100:110] = embeddings[100]
    targets = data.targets.copy()
    targets[100:110, 1] = np.arange(10) % 2
    for most in (1, 3):
        found = list_suspects(scored(data.logits, targets), embeddings, most=most)
        assert sum(each.kind == "twins" for each in found.suspects) == most


@pytest.mark.parametrize("twins", [False, True])
def test_a_parent_is_not_suspect_while_a_child_is_given(case: tuple[Scored, np.ndarray], twins: bool) -> None:
    data, embeddings = case
    targets = data.targets.copy()
    targets[5, 1] = 1  # a child of label 0, which is given wrongly
    if twins:
        embeddings[5] = embeddings[150]
        targets[150] = 0
    parents = {"label 1": ["label 0"]}
    free = list_suspects(scored(data.logits, targets), embeddings, 10)
    assert (5, 0) in {(each.row, each.label) for each in free.suspects}
    bound = list_suspects(scored(data.logits, targets), embeddings, 10, parents)
    assert (150 if twins else 3, 0) in {(each.row, each.label) for each in bound.suspects}
    assert not [each for each in bound.suspects if each.label == 0 and each.given and targets[each.row, 1] == 1]


def test_ranking_has_every_known_label_once() -> None:
    wrong = np.array([[0.2, np.nan, 0.9], [0.2, 0.1, np.nan]])
    assert [divmod(place, 3) for place in ranking(wrong).tolist()] == [(0, 2), (0, 0), (1, 0), (1, 1)]
