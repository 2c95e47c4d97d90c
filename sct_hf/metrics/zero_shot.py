"""Metrics of zero-shot multi-label classification: unseen labels alone, and with the seen ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .functional import check_scores_and_targets, multilabel_metrics

KS = (3, 5)


def top_k_metrics(scores: ArrayLike, targets: ArrayLike, k: int) -> dict[str, float]:
    """Precision, recall and F1 of tagging every image with its `k` highest scores.

    Counted over all (image, label) pairs, as in Fast0Tag (Zhang et al., CVPR 2016) and later work on zero-shot
    tagging. Images without a positive count. Unknown pairs are never predicted. Among equal scores the earlier labels
    win. 0/0 is 0.

    Args:
        scores: (N, C) real numbers on any scale, not NaN.
        targets: (N, C) with 1 positive, 0 negative, -1 or NaN unknown.
        k: Labels per image; an image with fewer known labels gets all of them.

    Returns:
        `P@k`, `R@k` and `F1@k`, fractions.

    Raises:
        InputError: Shapes or values are wrong, or `k` is below 1.
    """
    scores, targets = check_scores_and_targets(scores, targets)
    if k < 1:
        raise InputError(f"k is {k}: give a number >= 1")
    known = targets >= 0
    order = np.argsort(np.where(known, -scores, np.inf), axis=1, kind="stable")[:, :k]  # (N, min(k, C))
    predicted = np.zeros_like(known)
    np.put_along_axis(predicted, order, True, axis=1)
    predicted &= known
    hits, guesses, truths = (predicted & (targets == 1)).sum(), predicted.sum(), (targets == 1).sum()
    precision, recall, f1 = (
        float(part / whole) if whole else 0.0
        for part, whole in ((hits, guesses), (hits, truths), (2 * hits, guesses + truths))
    )
    return {f"P@{k}": precision, f"R@{k}": recall, f"F1@{k}": f1}


def chance_mAP(targets: ArrayLike) -> float | None:  # noqa: N802 - as in the literature
    """The mAP of random scores on many images: the mean positive rate of labels with a positive.

    With few positives, AP of random scores is a little above this rate, more so with the precision envelope.

    Args:
        targets: (N, C) with 1 positive, 0 negative, -1 or NaN unknown.
    """
    targets = check_scores_and_targets(np.zeros(np.shape(targets)), targets)[1]
    positives, known = (targets == 1).sum(axis=0), (targets >= 0).sum(axis=0)  # (C,)
    counted = positives > 0
    return float((positives[counted] / known[counted]).mean()) if counted.any() else None


def zero_shot_metrics(
    zsl_scores: ArrayLike,
    gzsl_scores: ArrayLike,
    targets: ArrayLike,
    *,
    seen: Sequence[str],
    unseen: Sequence[str],
) -> dict[str, Any]:
    """Compute the metrics that the literature on zero-shot multi-label classification reports.

    ZSL ranks the unseen labels only, GZSL all labels. mAP is defined as in `multilabel_metrics`.

    Args:
        zsl_scores: (N, U) scores of the unseen labels, from a model with only these labels.
        gzsl_scores: (N, S + U) scores of the seen, then the unseen labels, from a model with all labels.
        targets: (N, S + U) with 1 positive, 0 negative, -1 or NaN unknown.
        seen: The S names.
        unseen: The U names.

    Returns:
        `seen_labels` and `unseen_labels`; for each of ZSL and GZSL `…_mAP`, `…_chance_mAP` (see `chance_mAP`) and
        `…_P@3`, `…_R@3`, `…_F1@3`, `…_P@5`, `…_R@5`, `…_F1@5` (see `top_k_metrics`); `GZSL_seen_mAP` and
        `GZSL_unseen_mAP` of the two groups of labels; `ZSL_AP` and `GZSL_AP` by label. All are fractions; mAP and AP
        without a positive are None.

    Raises:
        InputError: Shapes do not fit the names, or values are wrong.
    """
    targets = np.asarray(targets)
    count = len(seen)
    figures: dict[str, Any] = {"seen_labels": list(seen), "unseen_labels": list(unseen)}
    by_label: dict[str, Any] = {}
    for kind, scores, names, truth in (
        ("ZSL", np.asarray(zsl_scores), list(unseen), targets[:, count:]),
        ("GZSL", np.asarray(gzsl_scores), [*seen, *unseen], targets),
    ):
        metrics = multilabel_metrics(scores, truth, label_names=names)
        figures |= {f"{kind}_mAP": metrics["mAP"], f"{kind}_chance_mAP": chance_mAP(truth)}
        for k in KS:
            figures |= {f"{kind}_{name}": value for name, value in top_k_metrics(scores, truth, k).items()}
        by_label[f"{kind}_AP"] = metrics["AP"]
    for part, labels in (("seen", seen), ("unseen", unseen)):
        values = [ap for name in labels if (ap := by_label["GZSL_AP"][name]) is not None]
        figures[f"GZSL_{part}_mAP"] = float(np.mean(values)) if values else None
    return figures | by_label
