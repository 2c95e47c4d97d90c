"""report.html: all that a run or an evaluation has found, on one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from sct_hf.data import LabelledImages
from sct_hf.data.summary import summarise
from sct_hf.model.outputs_sct import label_thresholds
from sct_hf.pages import write_page
from sct_hf.training.report import Predictions, training_note
from sct_hf.training.report_images import best_and_worst, image_cards
from sct_hf.training.report_parts import (
    confusion_table,
    environment_table,
    headline_figures,
    label_charts,
    label_counts,
    label_rows,
    pair_table,
    settings_table,
    training_charts,
)
from sct_hf.training.run_data import RunData
from sct_hf.training.run_files import RunFile


def write_report_page(
    folder: Path,
    metrics: Mapping[str, Any],
    predictions: Predictions,
    model: PreTrainedModel,
    record: Mapping[str, Any],
    images: LabelledImages | RunData,
    history: Sequence[Mapping[str, Any]] = (),
    texts: Sequence[str] = (),
) -> None:
    """Write report.html into a folder: less than 10 MB, whatever the number of images and labels.

    Args:
        folder: The folder.
        metrics: Content of metrics.json.
        predictions: Scores and targets of the images.
        model: The model that made them; on any device.
        record: Content of training_args.json: `arguments`, `versions` and, of a training, `command`.
        images: The images that were scored, in the order of the predictions, or all images of a run.
        history: Content of history.json.
        texts: Further blocks of the printed report.

    Raises:
        OSError: The page cannot be written, or an image cannot be read.
    """
    training, images = (images.training, images.evaluation) if isinstance(images, RunData) else (None, images)
    limits = label_thresholds(model.config)
    thresholds = np.full(len(predictions.label_names), 0.5) if limits is None else np.array(limits)  # (C,)
    best, worst = best_and_worst(predictions.scores, predictions.targets)
    shown: Any = {"images": images, "predictions": predictions, "model": model, "thresholds": thresholds}
    summaries = [summarise(part) for part in (training, images) if isinstance(part, LabelledImages)]
    note = training_note(int(metrics.get("scored_in_training", 0)), len(images))
    content = {
        "figures": headline_figures(metrics, predictions, thresholds),
        "warning": f"{note[0].upper()}{note[1:]}." if note else "",
        "curves": training_charts(history),
        "labels": label_rows(predictions, thresholds),
        "charts": label_charts(predictions, thresholds),
        "confused": confusion_table(predictions, thresholds),
        "best": image_cards(best, **shown, by_loss=False),
        "worst": image_cards(worst, **shown, by_loss=True),
        "summaries": summaries,
        "counts": label_counts(summaries),
        "pairs": pair_table(summaries[0]),
        "texts": texts,
        "command": " ".join(record.get("command", [])),
        "settings": settings_table(record.get("arguments", {})),
        "environment": environment_table(metrics, record),
    }
    title = f"{metrics['dataset']} {metrics['split']}"
    write_page(folder / RunFile.REPORT, Path(__file__).with_name("report_page.html"), title, content, charts=True)
