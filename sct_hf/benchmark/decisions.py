"""Calibration and thresholds of a calibrated run on the images that it is scored on.

`python -m sct_hf.benchmark.decisions RUN` reads out_of_fold.parquet, predictions.parquet and config.json.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit
from transformers import AutoConfig

from sct_hf.benchmark.statistics import spread
from sct_hf.decisions import Decisions, fit_decisions, parse_profile
from sct_hf.decisions.guarantees import false_tag_share
from sct_hf.decisions.platt import Calibration
from sct_hf.metrics.calibration import calibration_metrics
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.pretrained import load_pretrained
from sct_hf.training.acting import uncalibrated
from sct_hf.training.folds import Scored
from sct_hf.training.run_files import RunFile
from sct_hf.training.saved_scores import read_wide


def figures_by_fit(fitted: Scored, logits: np.ndarray, targets: np.ndarray) -> dict[str, list[float]]:
    """Figures on evaluated images, by fits that each leave out one fold of the images of the fit.

    Args:
        fitted: Out-of-fold scores of the images of the fit.
        logits: (M, C) of evaluated images.
        targets: (M, C): 1, 0, or −1 unknown.

    Returns:
        Fractions by name, one for each fit: calibration errors and Brier score, and figures of `balanced`.
    """
    names, found = list(fitted.label_names), []
    for fold in np.unique(fitted.folds):
        rest = fitted.folds != fold
        fit = fit_decisions(fitted.logits[rest], fitted.targets[rest], names, profiles=["balanced"])
        scores = _scores(fit, logits)
        tagged = multilabel_metrics(scores, targets, np.array(fit.thresholds["balanced"]), names)
        calibrated = calibration_metrics(scores, targets, names)
        found.append(
            {key: calibrated[key] for key in ("ECE_mean", "ECE", "Brier")}
            | {key: tagged[key] for key in ("OF1", "CF1_mean", "CF1")}
        )
    return {key: [row[key] for row in found] for key in found[0]}


def share_kept(
    logits: np.ndarray, targets: np.ndarray, names: Sequence[str], profiles: Sequence[str], *, draws: int = 100
) -> dict[str, tuple[float, float]]:
    """How often guarantees hold: thresholds of images drawn with replacement, judged on all images.

    Drawn so, the images of a fit come from exactly the distribution on which they are judged.

    Returns:
        For each profile the share of thresholds, of all labels and draws, that keep what they promise (NaN without
        any), and the share of labels that have a threshold.
    """
    rng = np.random.default_rng(0)
    kept: dict[str, list[bool]] = {name: [] for name in profiles}
    asked = 0
    for _ in range(draws):
        rows = rng.integers(len(logits), size=len(logits))
        fit = fit_decisions(logits[rows], targets[rows], names, profiles=profiles)
        scores, asked = _scores(fit, logits), asked + len(names)
        for name, thresholds in fit.thresholds.items():
            cuts = np.array([one or np.inf for one in thresholds])  # 0 keeps its promise by tagging all images
            kept[name] += _kept(name, cuts, scores, targets)
    return {name: (float(np.mean(held)) if held else np.nan, len(held) / asked) for name, held in kept.items()}


def _kept(name: str, cuts: np.ndarray, scores: np.ndarray, targets: np.ndarray) -> list[bool]:
    """Whether each label with a threshold keeps the promise."""
    profile = parse_profile(name)
    tags, positive = (targets >= 0) & (scores >= cuts), targets == 1  # (M, C)
    if profile.kind == "fdr":
        return [bool(false_tag_share(tags, targets) <= (profile.level or 0))] * int(np.isfinite(cuts).sum())
    right, trials = (tags & positive).sum(axis=0), (tags if profile.kind == "precision" else positive).sum(axis=0)
    return (right >= (profile.level or 0) * trials)[np.isfinite(cuts)].tolist()


def _scores(fit: Decisions, logits: np.ndarray) -> np.ndarray:
    slope, shift = (np.array(fit.calibration[key]) for key in ("slope", "shift"))
    return Calibration(slope, shift, np.inf).scores(logits)


def report(folder: Path) -> str:
    """The figures of a calibrated run as text, in %."""
    config = load_pretrained(AutoConfig, folder)
    table, names = read_wide(folder / RunFile.PREDICTIONS), config.label_names
    scores, targets = (table[[f"{kind}/{name}" for name in names]].to_numpy() for kind in ("score", "target"))
    logits = logit(uncalibrated(scores, config.calibration))
    fits = figures_by_fit(Scored.load(folder / RunFile.OUT_OF_FOLD), logits, targets)
    rows = [
        {"figure": key, "mean": 100 * (s := spread(v)).mean, "deviation": 100 * s.deviation} for key, v in fits.items()
    ]
    promised = [name for name in config.thresholds if parse_profile(name).level is not None]
    kept = share_kept(logits, targets, names, promised)
    others = [{"profile": name, "kept": 100 * held, "reached": 100 * there} for name, (held, there) in kept.items()]
    return "\n\n".join(pd.DataFrame(part).to_string(index=False, float_format="%.2f") for part in (rows, others))


if __name__ == "__main__":
    print(report(Path(sys.argv[1])))
