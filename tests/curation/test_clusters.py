"""Groups of images and their words, on constructed images."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from sct_hf.curation.clusters import WordClasses, best_words, find_groups, unexplained

# classes: pug, poodle, tabby, truck
WORDS = ["thing", "animal", "dog", "pug", "poodle", "cat", "truck", "hound"]
SHARES = np.array(
    [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]],
    dtype=np.float32,
)
VOCABULARY = WordClasses(WORDS, SHARES, np.eye(4, dtype=np.float32) * 9)


def images_of(*classes: int, noise: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (np.eye(4)[list(classes)] + rng.normal(0, noise, (len(classes), 4))).astype(np.float16)


def test_groups_are_those_that_were_made() -> None:
    truth = np.repeat([0, 2, 3], 12)
    embeddings = images_of(*truth)
    rows = np.arange(36)
    groups = find_groups(embeddings, rows, seed=0)
    found = np.full(36, -1)
    for number, group in enumerate(groups):
        found[group] = number
    # There may be a fourth group, which divides one; no group may mix two.
    assert adjusted_rand_score(truth, found) > 0.7
    assert all(len(set(truth[group])) == 1 for group in groups)
    assert [len(group) for group in groups] == sorted(map(len, groups), reverse=True)
    assert groups == find_groups(embeddings, rows, seed=0)


def test_the_nearest_to_the_centre_is_first() -> None:
    embeddings = np.array([[1, 0], [1, 0.1], [1, -0.1], [1, 3], [-9, 0]], dtype=np.float16)
    (group,) = find_groups(embeddings, np.arange(4), seed=0)
    assert sorted(group) == [0, 1, 2, 3]
    assert group[-1] == 3


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_images_make_no_group(count: int) -> None:
    assert find_groups(images_of(0, 1, 2), np.arange(count), seed=0) == []


def test_chances_are_the_mean_softmax() -> None:
    embeddings = images_of(0, 1, 1, 3, noise=0.3)
    logits = embeddings.astype(float) @ VOCABULARY.class_vectors.T.astype(float)
    by_hand = np.mean([np.exp(row) / np.exp(row).sum() for row in logits], axis=0)
    assert VOCABULARY.chances(embeddings) == pytest.approx(by_hand, abs=1e-4)


def test_a_word_fits_the_group_and_no_other() -> None:
    usual = np.array([0.05, 0.05, 0.4, 0.5])
    dogs, pugs, cats = np.array([0.5, 0.5, 0, 0]), np.array([1.0, 0, 0, 0]), np.array([0, 0, 1.0, 0])
    assert best_words(dogs, usual, VOCABULARY) == ["dog"]  # not animal, nor one of two breeds, nor its other word
    assert best_words(pugs, usual, VOCABULARY) == ["pug"]
    assert best_words(cats, usual, VOCABULARY) == ["cat"]
    assert best_words(usual, usual, VOCABULARY) == []


def test_two_kinds_give_two_words() -> None:
    usual = np.array([0.25, 0.25, 0.25, 0.25])
    assert set(best_words(np.array([0.5, 0, 0, 0.5]), usual, VOCABULARY)) == {"pug", "truck"}


def test_only_unexplained_images_are_grouped_and_named() -> None:
    embeddings = images_of(*[3] * 20, *[0, 1] * 4)
    (cluster,) = unexplained(embeddings, np.arange(20, 28), VOCABULARY)
    assert sorted(cluster.rows) == list(range(20, 28))
    assert cluster.words == ["dog"]
    (bare,) = unexplained(embeddings, np.arange(20, 28), None)
    assert bare.words == []
