"""What a checkpoint's calibration and thresholds give on scored images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit

from sct_hf.decisions.guarantees import false_tag_share
from sct_hf.metrics.calibration import calibration_metrics
from sct_hf.metrics.functional import check_scores_and_targets, multilabel_metrics
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.model.outputs_sct import label_thresholds

DECISIONS = ("CP", "CR", "CF1", "CF1_mean", "OP", "OR", "OF1")
OWN = "own thresholds"
"""Stands for a profile's name where a checkpoint has one list of thresholds."""

_LEAST = np.finfo(np.float32).eps / 2


def acting_metrics(
    scores: np.ndarray, targets: np.ndarray, config: BackboneConfig, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """The figures of metrics.json that depend on calibration and thresholds.

    Args:
        scores: (N, C) in [0, 1], calibrated if the checkpoint is.
        targets: (N, C): 1 positive, 0 negative, −1 or NaN unknown.
        config: The checkpoint's configuration.
        groups: Frequency group of each label.

    Returns:
        `calibration`, see `calibration_metrics`; for a calibrated checkpoint with `before`, the same of the sigmoids
        of its logits. For a checkpoint with thresholds `profiles`, by name: `CP` to `OF1` and `exact_match` as in
        `multilabel_metrics`; `false_tags`, the mean share of an image's tags that are wrong; `not_reachable`, the
        number of labels without a threshold; and for each label in `labels` `precision`, `recall` and `F1`.
    """
    names = config.label_names
    figures: dict[str, Any] = {"calibration": calibration_metrics(scores, targets, names, groups)}
    if config.calibration is not None:
        raw = uncalibrated(scores, config.calibration)
        figures["calibration"]["before"] = calibration_metrics(raw, targets, names, groups)
    if config.thresholds is not None:
        given: Any = config.thresholds
        profiles = {name: name for name in given} if isinstance(given, Mapping) else {OWN: None}
        figures["profiles"] = {
            name: _profile(scores, targets, np.array(label_thresholds(config, key)), names)
            for name, key in profiles.items()
        }
    return figures


def uncalibrated(scores: np.ndarray, calibration: Mapping[str, Sequence[float]]) -> np.ndarray:
    """The sigmoids of the logits behind calibrated scores (N, C); float32's 0 and 1 count as half a step inside."""
    odds = logit(np.asarray(scores, np.float64).clip(_LEAST, 1 - _LEAST))
    return expit((odds - np.array(calibration["shift"])) / np.array(calibration["slope"]))


def _profile(scores: np.ndarray, targets: np.ndarray, thresholds: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    overall = multilabel_metrics(scores, targets, thresholds, names)
    scores, targets = check_scores_and_targets(scores, targets)
    tags, positive = (targets >= 0) & (scores >= thresholds.astype(scores.dtype)), targets == 1  # (N, C)
    counts = zip(names, *((part.sum(axis=0).tolist()) for part in (tags & positive, tags, positive)), strict=True)
    return {
        **{key: overall[key] for key in (*DECISIONS, "exact_match")},
        "false_tags": false_tag_share(tags, targets),
        "not_reachable": int(np.isinf(thresholds).sum()),
        "labels": {
            name: {
                "precision": right / tagged if tagged else None,
                "recall": right / there if there else None,
                "F1": 2 * right / (tagged + there) if tagged + there else None,
            }
            for name, right, tagged, there in counts
        },
    }
