"""The thresholds of a profile, their order in a hierarchy, and what is known of each."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logit
from scipy.stats import beta

from ..model.hierarchy_sct import top_down
from .balanced import f1_threshold
from .guarantees import false_tag_share, false_tags_threshold, precision_threshold, recall_threshold
from .platt import LEAST_IMAGES, Calibration
from .profiles import CONFIDENCE, Profile

_GUARANTEES = {"precision": precision_threshold, "recall": recall_threshold}


class Chosen(NamedTuple):
    """The threshold of a label.

    Attributes:
        threshold: In [0, 1]; None if the guarantee is not reachable: no image gets the label.
        reason: Why there is none, or why it is not the label's own; empty if it is.
    """

    threshold: float | None
    reason: str = ""


def label_thresholds(
    profile: Profile, logits: np.ndarray, targets: np.ndarray, used: Calibration, own: Calibration
) -> list[Chosen]:
    """The thresholds of C labels, without regard to a hierarchy.

    Args:
        profile: The purpose.
        logits: (N, C).
        targets: (N, C): 1, 0, or −1 unknown.
        used: The calibration of the scores that the thresholds are for.
        own: The calibration with labels' own pairs. It decides in `balanced`, and the thresholds are carried over.
    """
    scores, known = used.scores(logits), targets >= 0  # (N, C)
    positives = (targets == 1).sum(axis=0)  # (C,)
    unreachable = [Chosen(None, f"not reachable with {count} positives") for count in positives]
    if profile.level is None:
        few = Chosen(
            f1_threshold(scores[known]), f"fewer than {LEAST_IMAGES} positives: the threshold of all labels together"
        )
        best = [f1_threshold(column[rows]) for column, rows in zip(own.scores(logits).T, known.T, strict=True)]
        carried = used.scores((logit(best) - own.shift) / own.slope)
        return [
            few if count < LEAST_IMAGES else Chosen(float(threshold))
            for count, threshold in zip(positives, carried, strict=True)
        ]
    if profile.kind == "fdr":
        shared = false_tags_threshold(scores, targets, profile.level, CONFIDENCE)
        return unreachable if shared is None else [Chosen(shared)] * len(positives)
    find = _GUARANTEES[profile.kind]
    found = [
        find(column[rows], truth[rows], profile.level, CONFIDENCE) if count else None
        for column, truth, rows, count in zip(scores.T, targets.T, known.T, positives, strict=True)
    ]
    if profile.kind == "recall":  # all images keep the promise
        unreachable = [Chosen(0.0, f"{none.reason} but by all images") for none in unreachable]
    return [none if one is None else Chosen(one) for one, none in zip(found, unreachable, strict=True)]


def keep_order(
    profile: Profile, chosen: Sequence[Chosen], label_names: Sequence[str], label_parents: Mapping[str, Sequence[str]]
) -> list[Chosen]:
    """Let no image have a label without the label's parents, whose scores are never lower.

    For precision a child's threshold is raised to its parent's, since the thresholds above a certified one hold with
    it. For recall and `balanced` the parent's is lowered to its child's, as lower thresholds have no lower recall.

    Args:
        profile: The purpose.
        chosen: Of C labels.
        label_names: The C labels.
        label_parents: {label: its parents}.
    """
    result, order = dict(zip(label_names, chosen, strict=True)), top_down(label_parents)
    if profile.kind == "precision":
        for child in order:
            for parent in label_parents.get(child, ()):
                if _height(result[parent]) > _height(result[child]):
                    without = result[parent].threshold is None
                    reason = "not reachable for its parent" if without else "raised to that of its parent"
                    result[child] = Chosen(result[parent].threshold, f"{reason} {parent}")
    else:
        for child in reversed(order):
            for parent in label_parents.get(child, ()):
                if _height(result[parent]) > _height(result[child]):
                    result[parent] = Chosen(result[child].threshold, f"lowered to that of its child {child}")
    return [result[name] for name in label_names]


def _height(chosen: Chosen) -> float:
    return np.inf if chosen.threshold is None else chosen.threshold


def profile_facts(
    profile: Profile, chosen: Sequence[Chosen], scores: np.ndarray, targets: np.ndarray, label_names: Sequence[str]
) -> dict[str, Any]:
    """What is known of the thresholds of a profile, as JSON.

    Returns:
        `level` and `confidence`, None for `balanced`; for fdr `estimate`, the mean share of false tags; and `labels`,
        for each label `threshold`, `positives`, `reason`, its `precision`, `recall` and `F1` on the images of the fit,
        and `bound`, the exact lower confidence bound (Clopper & Pearson, 1934) of the one that is guaranteed. A figure
        of nothing is None.
    """
    cuts = np.array([_height(one) for one in chosen])
    tags, positive = (targets >= 0) & (scores >= cuts), targets == 1  # (N, C)
    labels = {}
    for name, one, right, tagged, there in zip(
        label_names,
        chosen,
        (tags & positive).sum(axis=0).tolist(),
        tags.sum(axis=0).tolist(),
        positive.sum(axis=0).tolist(),
        strict=True,
    ):
        trials = {"precision": tagged, "recall": there}.get(profile.kind)
        labels[name] = {
            "threshold": one.threshold,
            "positives": there,
            "precision": right / tagged if tagged else None,
            "recall": right / there if there else None,
            "F1": 2 * right / (tagged + there) if tagged + there else None,
            "bound": _lower_bound(right, trials) if trials and one.threshold is not None else None,
            "reason": one.reason,
        }
    facts: dict[str, Any] = {
        "level": profile.level,
        "confidence": None if profile.level is None else CONFIDENCE,
        "labels": labels,
    }
    if profile.kind == "fdr":
        facts["estimate"] = false_tag_share(tags, targets) if tags.any() else None
    return facts


def _lower_bound(hits: int, trials: int) -> float:
    return float(beta.ppf(1 - CONFIDENCE, hits, trials - hits + 1)) if hits else 0.0
