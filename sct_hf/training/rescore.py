"""The figures in a checkpoint's folder, again after its calibration has changed. No image is scored."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sct_hf.errors import InputError
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.metrics.hierarchical import hierarchical_metrics
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.model.outputs_sct import label_scores
from sct_hf.training.acting import acting_metrics
from sct_hf.training.folds import as_logits
from sct_hf.training.report import write_scores
from sct_hf.training.run_files import RunFile
from sct_hf.training.saved_scores import read_predictions


def rescore(folder: Path, before: Mapping[str, Sequence[float]] | None, config: BackboneConfig) -> bool:
    """Bring predictions.parquet, metrics.json and per_label.csv in line with a new calibration; remove report.html.

    Saved scores are taken back to logits, exact to float32 but for scores of 0 and 1.

    Args:
        folder: A folder that reports on its checkpoint: a run's, or a published one.
        before: The calibration of the saved scores, if they do not name theirs.
        config: The checkpoint's configuration now.

    Returns:
        Whether the folder had figures.

    Raises:
        InputError: The figures cannot be read, or are of other labels.
    """
    names = config.label_names
    if not (folder / RunFile.PREDICTIONS).is_file():
        return False
    saved = read_predictions(folder)
    if list(saved.label_names) != names:
        raise InputError(f"the figures in {folder} are of other labels than its checkpoint's: evaluate again")
    try:
        metrics = json.loads((folder / RunFile.METRICS).read_text(encoding="utf-8"))
        of_labels = pd.read_csv(folder / RunFile.PER_LABEL)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the figures in {folder} cannot be read ({str(error)[:200]}): evaluate again") from error
    logits, targets = as_logits(saved.scores).astype(np.float64), saved.targets
    before = saved.calibration or before
    if before is not None:
        logits = (logits - np.array(before["shift"])) / np.array(before["slope"])
    scores = label_scores(torch.from_numpy(logits), config).numpy()
    metrics |= multilabel_metrics(scores, targets, label_names=names)
    if config.label_parents:
        metrics |= hierarchical_metrics(scores, targets, config.label_parents, names)
    positives = of_labels["train_positives"].to_numpy() if "train_positives" in of_labels else None
    groups = of_labels["group"].tolist() if "group" in of_labels else None
    metrics |= acting_metrics(scores, targets, config, groups)
    predictions = saved._replace(
        scores=scores, train_positives=positives, groups=groups, calibration=config.calibration
    )
    write_scores(folder, metrics=metrics, predictions=predictions)
    (folder / RunFile.REPORT).unlink(missing_ok=True)  # of the former scores; it needs the images
    return True
