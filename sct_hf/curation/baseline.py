"""cleanlab's ranking of the same scores, to compare with: https://github.com/cleanlab/cleanlab."""

import numpy as np

INSTALL = 'pip install "sct_hf[audit]"'


def cleanlab_ranks(scores: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Rank what `find_label_issues` of cleanlab lists in each label, by its self-confidence over all labels.

    Its settings are the defaults, as for `find_multilabel_issues_per_class`, which cannot leave out unknown labels.

    Args:
        scores: (N, C) out-of-fold scores in [0, 1], not calibrated.
        given: (N, C): 1 present, 0 absent, -1 unknown.

    Returns:
        (N, C) int64: 1 for the most suspect; 0 for what it does not list, or where a label has one value only.

    Raises:
        ImportError: cleanlab is not installed.
    """
    from cleanlab.filter import find_label_issues

    sureness = np.full(given.shape, np.inf)
    for label in range(given.shape[1]):
        rows = np.flatnonzero(given[:, label] >= 0)
        present = given[rows, label]
        if len(set(present.tolist())) < 2:
            continue
        of_label = scores[rows, label].astype(np.float64)
        both = np.stack([1 - of_label, of_label], axis=1)
        listed = find_label_issues(present, both, n_jobs=1)
        sureness[rows[listed], label] = both[np.arange(len(rows)), present][listed]
    flat = sureness.ravel()
    order = np.argsort(flat, kind="stable")
    ranks = np.zeros(flat.size, dtype=np.int64)
    count = int(np.isfinite(flat).sum())
    ranks[order[:count]] = np.arange(1, count + 1)
    return ranks.reshape(given.shape)
