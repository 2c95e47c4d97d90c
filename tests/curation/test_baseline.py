"""cleanlab's ranks are those of its own multi-label function."""

import numpy as np
from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

from sct_hf.curation.baseline import cleanlab_ranks


def test_ranks_are_cleanlabs() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((300, 3))
    labels = (rng.random(scores.shape) < np.clip(scores, 0.05, 0.95)).astype(np.int8)
    ranks = cleanlab_ranks(scores, labels)
    rows = [np.flatnonzero(row).tolist() for row in labels]
    listed = find_multilabel_issues_per_class(rows, scores, n_jobs=1)
    assert np.array_equal(ranks > 0, listed)
    assert sorted(ranks[ranks > 0]) == list(range(1, listed.sum() + 1))
    sureness = np.where(labels == 1, scores, 1 - scores)
    assert sureness.ravel()[np.argsort(np.where(ranks > 0, ranks, 10_000).ravel())][: listed.sum()].tolist() == sorted(
        sureness[listed]
    )


def test_unknown_labels_and_labels_with_one_value_are_not_ranked() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((200, 3))
    labels = (rng.random(scores.shape) < 0.4).astype(np.int8)
    labels[:, 1] = 0
    labels[:100, 2] = -1
    ranks = cleanlab_ranks(scores, labels)
    assert not ranks[:, 1].any()
    assert not ranks[:100, 2].any()
    assert ranks[:, 0].any()
    assert ranks[100:, 2].any()
