"""Fit calibration and thresholds of a model."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from ..errors import InputError
from ..metrics.calibration import calibration_metrics, reliability_curve
from ..metrics.functional import check_scores_and_targets
from .platt import STRENGTHS, choose_platt, total_log_loss, uncalibrated
from .profiles import DEFAULT_PROFILES, parse_profile
from .thresholds import keep_order, label_thresholds, profile_facts


class Decisions(NamedTuple):
    """What makes scores and tags of logits.

    Attributes:
        calibration: {"slope": C floats above 0, "shift": C floats}: score = sigmoid(slope · logit + shift).
        thresholds: {profile: C numbers in [0, 1], None where the guarantee is not reachable}, for calibrated scores.
        report: How they were fitted, as JSON: `images`, `calibration` (`shrinkage`, the log losses that chose it, and
            figures `before` and `after`, on images left out of the fit), and `profiles` with each label's facts.
    """

    calibration: dict[str, list[float]]
    thresholds: dict[str, list[float | None]]
    report: dict[str, Any]


def fit_decisions(
    logits: ArrayLike,
    targets: ArrayLike,
    label_names: Sequence[str],
    label_parents: Mapping[str, Sequence[str]] | None = None,
    profiles: Sequence[str] = DEFAULT_PROFILES,
    seed: int = 0,
) -> Decisions:
    """Fit the calibration of logits, and the thresholds of profiles.

    Args:
        logits: (N, C), finite, of images that the model was not trained on: out-of-fold, or of another set.
        targets: (N, C): 1 positive, 0 negative, −1 or NaN unknown, which are left out.
        label_names: The C labels.
        label_parents: {label: its parents}. All labels then share one slope and shift, which keep the order of scores,
            and no parent has a higher threshold than its children.
        profiles: Names of profiles; see `parse_profile`.
        seed: Seed of the folds of cross-validation.

    Raises:
        InputError: An argument has a wrong shape or value, or all known targets are equal.
    """
    logits, targets = _check(logits, targets, label_names)
    wanted = list(dict.fromkeys(map(parse_profile, profiles)))
    own = choose_platt(logits, targets, strengths=STRENGTHS, seed=seed)
    used = choose_platt(logits, targets, strengths=STRENGTHS[:1], seed=seed) if label_parents else own
    thresholds, facts = {}, {}
    for profile in wanted:
        found = label_thresholds(profile, logits, targets, used.calibration, own.calibration)
        if label_parents:
            found = keep_order(profile, found, label_names, label_parents)
        thresholds[profile.name] = [one.threshold for one in found]
        facts[profile.name] = profile_facts(profile, found, used.calibration, logits, targets, label_names)
    before = total_log_loss(uncalibrated(len(label_names)), logits, targets) / int((targets >= 0).sum())
    return Decisions(
        calibration={"slope": used.calibration.slope.tolist(), "shift": used.calibration.shift.tolist()},
        thresholds=thresholds,
        report={
            "images": len(logits),
            "calibration": {
                "shrinkage": _number(used.calibration.shrinkage),
                "log_losses": [
                    {"shrinkage": _number(strength), "log_loss": loss}
                    for strength, loss in zip(used.strengths, used.log_losses, strict=True)
                ],
                "before": _figures(expit(logits), targets, label_names, before),
                "after": _figures(used.held_out, targets, label_names, min(used.log_losses)),
            },
            "profiles": facts,
        },
    )


def _check(logits: ArrayLike, targets: ArrayLike, label_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    logits, targets = check_scores_and_targets(logits, targets)
    if logits.shape[1] != len(label_names):
        raise InputError(
            f"logits has {logits.shape[1]} labels but label_names {len(label_names)}: give one name for each"
        )
    if not np.isfinite(logits).all():
        row, label = np.argwhere(~np.isfinite(logits))[0]
        raise InputError(f"logits has infinity, the first at row {row}, label {label}: give finite numbers")
    if not ((targets == 1).any() and (targets == 0).any()):
        raise InputError("targets has no known positive or no known negative: give images with and without labels")
    return np.ascontiguousarray(logits), np.ascontiguousarray(targets)  # sums round the same for any layout


def _figures(
    scores: np.ndarray, targets: np.ndarray, label_names: Sequence[str], mean_log_loss: float
) -> dict[str, Any]:
    return {
        **calibration_metrics(scores, targets, label_names),
        "log_loss": mean_log_loss,
        "curve": reliability_curve(scores, targets),
    }


def _number(strength: float) -> float | None:
    """JSON has no infinity: one pair for all labels has no strength."""
    return strength if np.isfinite(strength) else None
