"""Metrics for labels in a hierarchy, on NumPy arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..model.hierarchy_sct import ancestors, check_label_parents
from .functional import check_scores_and_targets, multilabel_metrics

HIERARCHICAL_METRICS = {
    "hP": "hierarchical precision: precision over all decisions, with ancestors of predicted and true labels",
    "hR": "hierarchical recall, likewise",
    "hF1": "harmonic mean of hP and hR",
    "mAP_leaves": "mAP of the labels without children; None if none of them has a positive",
    "violations": "number of (image, label, parent) triples with the parent's score below the label's",
    "violating_images": "fraction of images with a violation",
}
"""Every key of `hierarchical_metrics` and what it means."""

ROUNDING = 1e-6
"""A parent this far below a child is no violation: sigmoids of equal logits differ by rounding, since vectorised
and remaining elements are computed differently."""


def hierarchical_metrics(
    scores: ArrayLike,
    targets: ArrayLike,
    label_parents: Mapping[str, Sequence[str]],
    label_names: Sequence[str],
    threshold: float = 0.5,
) -> dict[str, Any]:
    """Compute the metrics of `HIERARCHICAL_METRICS`.

    hP = Σ|P̂ᵢ ∩ T̂ᵢ| / Σ|P̂ᵢ| and hR = Σ|P̂ᵢ ∩ T̂ᵢ| / Σ|T̂ᵢ| over images i, with P̂ᵢ and T̂ᵢ the predicted and true
    labels with all their ancestors (Kiritchenko, Matwin, Nock & Famili, "Learning and Evaluation in the Presence of
    Class Hierarchies", 2006). A pair with an unknown target is ignored, unless a true descendant makes it true. 0/0
    is 0.

    Args:
        scores: (N, C) real numbers, not NaN. The rounding tolerance of violations assumes [0, 1].
        targets: (N, C) with 1 positive, 0 negative, -1 or NaN unknown.
        label_parents: {label: its parents}.
        label_names: The C labels.
        threshold: A score at or above it is a prediction.

    Raises:
        InputError: Shapes, values or names are wrong, or the hierarchy has a cycle.
    """
    scores, targets = check_scores_and_targets(scores, targets)
    try:
        check_label_parents(label_parents, label_names)
    except ValueError as error:
        raise InputError(str(error)) from error
    flat = multilabel_metrics(scores, targets, threshold, label_names)
    place = {name: label for label, name in enumerate(label_names)}

    predicted, positive = scores >= threshold, targets == 1  # (N, C)
    with_ancestors = np.eye(len(place), dtype=np.float32)  # (C, C): from each label to itself and those above
    for name, above in ancestors(label_parents).items():
        with_ancestors[place[name], [place[up] for up in above]] = 1
    predicted, positive = (marks.astype(np.float32) @ with_ancestors > 0 for marks in (predicted, positive))
    predicted &= positive | (targets >= 0)
    hits, guesses, truths = (int(marks.sum()) for marks in (predicted & positive, predicted, positive))

    edges = [(place[child], place[parent]) for child, parents in label_parents.items() for parent in parents]
    children, parents = np.array(edges, dtype=np.int64).reshape(-1, 2).T  # (edges,)
    violated = scores[:, parents] < scores[:, children] - ROUNDING  # (N, edges)

    inner = {parent for above in label_parents.values() for parent in above}
    leaves = [flat["AP"][name] for name in label_names if name not in inner]
    counted = [ap for ap in leaves if ap is not None]
    return {
        "hP": hits / guesses if guesses else 0.0,
        "hR": hits / truths if truths else 0.0,
        "hF1": 2 * hits / (guesses + truths) if guesses + truths else 0.0,
        "mAP_leaves": sum(counted) / len(counted) if counted else None,
        "violations": int(violated.sum()),
        "violating_images": float(violated.any(axis=1).mean()),
    }
