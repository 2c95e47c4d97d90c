"""The thresholds of a profile, their order in a hierarchy, and what is known of each."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logit
from scipy.stats import beta

from ..metrics.parts import label_parts
from ..model.hierarchy_sct import top_down
from .balanced import f1_threshold_of_all, f1_thresholds
from .guarantees import (
    false_tag_share,
    false_tags_threshold,
    mistakes_allowed,
    precision_thresholds,
    recall_thresholds,
)
from .platt import LEAST_IMAGES, Calibration
from .profiles import CONFIDENCE, Profile

_GUARANTEES = {"precision": precision_thresholds, "recall": recall_thresholds}


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
        targets: (N, C): 1 positive, 0 negative, −1 unknown.
        used: The calibration of the scores that the thresholds are for.
        own: The calibration with labels' own pairs. It decides in `balanced`, and the thresholds are carried over.
    """
    positives, parts = (targets == 1).sum(axis=0), label_parts(*logits.shape)  # (C,)
    if profile.level is None:
        return _balanced(logits, targets, positives, used, own)
    unreachable = [Chosen(None, f"not reachable with {count} positives") for count in positives]
    if profile.kind == "fdr":
        pairs = ((used.scores(logits, part), targets[:, part]) for part in parts)
        shared = false_tags_threshold(pairs, profile.level, CONFIDENCE)
        return unreachable if shared is None else [Chosen(shared)] * len(positives)
    found = np.full(len(positives), np.inf)
    # A label needs as many positives as images would be enough if all were right; the others cost nothing.
    able = mistakes_allowed(len(logits), profile.level, CONFIDENCE)[positives] >= 0
    for part in parts:
        labels = part.start + np.flatnonzero(able[part])
        scores = used.scores(logits, labels)
        found[labels] = _GUARANTEES[profile.kind](scores, targets[:, labels], profile.level, CONFIDENCE)
    if profile.kind == "recall":  # all images keep the promise
        unreachable = [Chosen(0.0, f"{none.reason} but by all images") for none in unreachable]
    return [none if one == np.inf else Chosen(one) for one, none in zip(found.tolist(), unreachable, strict=True)]


def _balanced(
    logits: np.ndarray, targets: np.ndarray, positives: np.ndarray, used: Calibration, own: Calibration
) -> list[Chosen]:
    parts = label_parts(*logits.shape)

    def scores(calibration: Calibration, part: slice) -> np.ndarray:
        return np.where(targets[:, part] >= 0, calibration.scores(logits, part), 0)

    best = np.concatenate([f1_thresholds(scores(own, part)) for part in parts])
    carried = used.scores(((logit(best) - own.shift) / own.slope)[None])[0].tolist()
    rare = positives < LEAST_IMAGES
    if not rare.any():
        return [*map(Chosen, carried)]
    few = Chosen(
        f1_threshold_of_all(lambda: (scores(used, part) for part in parts)),
        f"fewer than {LEAST_IMAGES} positives: the threshold of all labels together",
    )
    return [few if one else Chosen(threshold) for one, threshold in zip(rare, carried, strict=True)]


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
    profile: Profile,
    chosen: Sequence[Chosen],
    calibration: Calibration,
    logits: np.ndarray,
    targets: np.ndarray,
    label_names: Sequence[str],
) -> dict[str, Any]:
    """What is known of the thresholds of a profile, as JSON.

    Args:
        profile: The purpose.
        chosen: Of C labels.
        calibration: That of the scores which the thresholds are for.
        logits: (N, C).
        targets: (N, C): 1 positive, 0 negative, −1 unknown.
        label_names: The C labels.

    Returns:
        `level` and `confidence`, None for `balanced`; for fdr `estimate`, the mean share of false tags; and `labels`,
        for each label `threshold`, `positives`, `reason`, its `precision`, `recall` and `F1` on the images of the fit,
        and `bound`, the exact lower confidence bound (Clopper & Pearson, 1934) of the one that is guaranteed. A figure
        of nothing is None.
    """
    cuts = np.array([_height(one) for one in chosen])
    tags, positive = np.empty(targets.shape, dtype=bool), targets == 1  # (N, C)
    for part in label_parts(*logits.shape):
        tags[:, part] = (targets[:, part] >= 0) & (calibration.scores(logits, part) >= cuts[part])
    right, tagged, there = (counted.sum(axis=0) for counted in (tags & positive, tags, positive))  # (C,)
    trials = {"precision": tagged, "recall": there}.get(profile.kind)
    bounds = [None] * len(chosen) if trials is None else _lower_bounds(right, np.where(np.isinf(cuts), 0, trials))
    labels = {
        name: {
            "threshold": one.threshold,
            "positives": positives,
            "precision": hits / tagged if tagged else None,
            "recall": hits / positives if positives else None,
            "F1": 2 * hits / (tagged + positives) if tagged + positives else None,
            "bound": bound,
            "reason": one.reason,
        }
        for name, one, hits, tagged, positives, bound in zip(
            label_names, chosen, right.tolist(), tagged.tolist(), there.tolist(), bounds, strict=True
        )
    }
    facts: dict[str, Any] = {
        "level": profile.level,
        "confidence": None if profile.level is None else CONFIDENCE,
        "labels": labels,
    }
    if profile.kind == "fdr":
        facts["estimate"] = false_tag_share(tags, targets) if tags.any() else None
    return facts


def _lower_bounds(hits: np.ndarray, trials: np.ndarray) -> list[float | None]:
    """Of the chance that a trial hits, (C,); None without a trial."""
    bounds = np.zeros(len(hits))
    some = hits > 0
    bounds[some] = beta.ppf(1 - CONFIDENCE, hits[some], trials[some] - hits[some] + 1)
    return [bound if tried else None for bound, tried in zip(bounds.tolist(), trials, strict=True)]
