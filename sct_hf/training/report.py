"""The report of a run: its files and its printed tables."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

import numpy as np
import pandas as pd
from PIL import Image
from transformers import PreTrainedModel

from sct_hf.escaping import csv_cell, in_line
from sct_hf.factory import image_processor
from sct_hf.files import atomic_write
from sct_hf.metrics.frequency import GROUPS
from sct_hf.metrics.functional import check_scores_and_targets, multilabel_metrics
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.name_lists import FEW, PRINTED
from sct_hf.training.acting import DECISIONS
from sct_hf.training.figures import tag_sheet, training_curves
from sct_hf.training.run_files import RunFile

COMPARED = ("mAP", "mAP_11point", "CF1", "OF1", "CF1_top3", "OF1_top3", "exact_match")


class Predictions(NamedTuple):
    """Scores with the true labels.

    Attributes:
        image_ids: N names of images.
        scores: (N, C) in [0, 1].
        targets: (N, C): 1 positive, 0 negative, -1 or NaN unknown.
        label_names: C names.
        train_positives: (C,) training images of each label, if the table should show them.
        groups: C names of frequency groups, if the table should show them.
        contents: N texts of `image_contents`, if predictions.parquet should have them.
        calibration: `config.calibration` that gave the scores, if predictions.parquet should have it.
    """

    image_ids: Sequence[str]
    scores: np.ndarray
    targets: np.ndarray
    label_names: Sequence[str]
    train_positives: np.ndarray | None = None
    groups: Sequence[str] | None = None
    contents: Sequence[str] | None = None
    calibration: Mapping[str, Any] | None = None


class RunFacts(TypedDict):
    """Facts of a run in metrics.json, besides the figures that predictions.parquet reproduces."""

    head: str
    dataset: str
    split: str
    selected_epoch: int
    holdout_mAP: float | None
    train_images: int
    labels_not_judged: list[str]
    train_seconds: float
    machine: dict[str, Any]
    skipped_images: dict[str, list[str]]
    scored_in_training: NotRequired[int]
    frequency_limits: NotRequired[tuple[int, int] | list[int]]
    zero_shot: NotRequired[dict[str, Any]]
    weights_sha256: NotRequired[str]
    comparison: NotRequired[dict[str, dict[str, Any]]]


def write_report(
    output_dir: str | Path,
    *,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    predictions: Predictions | tuple[Sequence[str], np.ndarray, np.ndarray, Sequence[str]],
    model: PreTrainedModel,
    samples: Sequence[tuple[str, Image.Image]],
    threshold: float = 0.5,
) -> None:
    """Write metrics.json, per_label.csv and predictions.parquet; also curves.png and tags.png if there is material.

    Args:
        output_dir: The run's folder.
        metrics: The result of `multilabel_metrics`, and further facts of the run.
        history: The rows of `training_curves`; empty for no curves.
        predictions: Predictions of the split of `metrics`.
        model: The model that made them, on any device.
        samples: About eight (image id, image) pairs for tags.png; `predictions` has their true labels. Empty for no
            sheet.
        threshold: Score from which a label counts as predicted.

    Raises:
        InputError: Scores or targets have a wrong shape or value.
        OSError: A file cannot be written. Files already written are whole.
    """
    output_dir, predictions = Path(output_dir), Predictions(*predictions)
    write_scores(output_dir, metrics=metrics, predictions=predictions, threshold=threshold)
    if history:
        training_curves(history, output_dir / RunFile.CURVES)
    if samples:
        rows = {image_id: row for row, image_id in enumerate(predictions.image_ids)}
        unknown = np.full(len(predictions.label_names), np.nan)
        truth = [predictions.targets[rows[image_id]] if image_id in rows else unknown for image_id, _ in samples]
        images = [image for _, image in samples]
        processor = image_processor(cast(BackboneConfig, model.config))
        tag_sheet(model, processor, images, output_dir / RunFile.TAGS, targets=np.stack(truth), threshold=threshold)


def write_scores(
    output_dir: str | Path, *, metrics: Mapping[str, Any], predictions: Predictions, threshold: float = 0.5
) -> None:
    """Write the files of an evaluation: metrics.json, per_label.csv and predictions.parquet.

    predictions.parquet has the columns `image_id`, `content` if it is known, and for each label `score/<label>`
    (float) and `target/<label>` (int8: 1, 0, -1 unknown). per_label.csv has fractions, not percents; its labels are
    written by `csv_cell`.

    Args:
        output_dir: The folder.
        metrics: Content of metrics.json; see `write_json`.
        predictions: The scores with the true labels.
        threshold: Score from which a label counts as predicted.
    """
    output_dir = Path(output_dir)
    write_json(output_dir / "metrics.json", metrics)
    with atomic_write(output_dir / RunFile.PER_LABEL) as temporary:
        table = label_table(predictions, threshold)
        table["label"] = [*map(csv_cell, table["label"])]
        table.to_csv(temporary, index=False)
    scores, targets = check_scores_and_targets(predictions.scores, predictions.targets)  # (N, C)
    columns: dict[str, Any] = {"image_id": list(predictions.image_ids)}
    columns |= {} if predictions.contents is None else {"content": list(predictions.contents)}
    for label, name in enumerate(predictions.label_names):
        columns |= {f"score/{name}": scores[:, label], f"target/{name}": targets[:, label]}
    table = pd.DataFrame(columns)
    if predictions.calibration is not None:
        table.attrs["calibration"] = json.dumps(_plain(predictions.calibration))  # pandas copies it for each column
    with atomic_write(output_dir / RunFile.PREDICTIONS) as temporary:
        table.to_parquet(temporary, index=False)


def write_json(path: str | Path, content: Any) -> None:
    """Write standard JSON: arrays and tensors as lists, paths as strings, NaN and infinity as null."""
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def training_note(count: int, images: int) -> str:
    """A line about the scored images that were in training; empty if there are none.

    Args:
        count: How many of them.
        images: How many are scored.
    """
    if not count:
        return ""
    which = "all images that are scored are" if count == images else f"{count} of the {images} scored images are"
    return f"{which} images of training too: the figures say little of other images"


def labels_not_judged(targets: np.ndarray, label_names: Sequence[str]) -> list[str]:
    """Labels with unknown targets (N, C) in every row."""
    return [name for name, column in zip(label_names, targets.T, strict=True) if not (column >= 0).any()]


def label_table(predictions: Predictions, threshold: float | np.ndarray = 0.5) -> pd.DataFrame:
    """One row per label: `label`, `positives` (count), and `AP`, `precision`, `recall`, `F1` as fractions.

    `train_positives` (count) and `group` follow the label if the predictions have them.

    Precision, recall and F1 count scores at or above the threshold, a number or (C,). AP is missing for a label
    without a positive, all four for a label that is known in no image.
    """
    scores, targets = check_scores_and_targets(predictions.scores, predictions.targets)
    names, train_positives, groups = predictions.label_names, predictions.train_positives, predictions.groups
    average_precisions = multilabel_metrics(scores, targets, threshold, names)["AP"]
    known, positive = targets >= 0, targets == 1  # (N, C)
    tags = known & (scores >= np.asarray(threshold, dtype=scores.dtype))
    right, tagged, there = (counted.sum(axis=0) for counted in (tags & positive, tags, positive))  # (C,)
    judged = known.any(axis=0)

    def share(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
        """The quotients, 0 for 0/0; NaN for a label that nobody judged."""
        found = np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)
        return np.where(judged, found, np.nan)

    table = pd.DataFrame(
        {
            "label": list(names),
            "positives": there,
            "AP": [average_precisions[name] for name in names],
            "precision": share(right, tagged),
            "recall": share(right, there),
            "F1": share(2 * right, tagged + there),
        }
    )
    if groups is not None:
        table.insert(1, "group", list(groups))
    if train_positives is not None:
        table.insert(1, "train_positives", train_positives)
    return table


def format_table(
    metrics: Mapping[str, Any],
    label_names: Sequence[str],
    *,
    predictions: Predictions | None = None,
    comparison: Mapping[str, Mapping[str, Any]] | None = None,
    threshold: float = 0.5,
) -> str:
    """Format metrics as text, in percent.

    Args:
        metrics: The result of `multilabel_metrics`; the optional `head` names the model in the comparison.
        label_names: The labels, in the order to print.
        predictions: Source of the metrics; adds positives, precision, recall and F1 of each label.
        comparison: Metrics of other heads, by name; adds a block side by side, and their AP of each label.
        threshold: The threshold of `metrics` and of the columns added by `predictions`.
    """
    means = "   ".join(f"{key} {percent(metrics[key])}" for key in ("mAP_11point", "mAP_sklearn", "exact_match"))
    blocks = [f"mAP {percent(metrics['mAP'])} %   {means}   ({metrics['num_images']} images)"]
    decisions = {f"at {threshold:g}": metrics, "top 3": {key: metrics[f"{key}_top3"] for key in DECISIONS}}
    decisions |= metrics.get("profiles", {})
    blocks.append(_side_by_side(decisions, DECISIONS))
    if "hF1" in metrics:
        figures = "   ".join(f"{key} {percent(metrics[key])}" for key in ("hP", "hR", "hF1", "mAP_leaves"))
        blocks.append(f"in the hierarchy   {figures}   {metrics['violations']} parents below a child")
    if "calibration" in metrics:
        blocks.append(_calibration_lines(metrics["calibration"]))
    if "frequency_limits" in metrics:
        blocks.append(_group_lines(metrics))

    others = dict(comparison or {})
    own_name = str(metrics.get("head", "this model"))
    others.pop(own_name, None)
    if others:
        blocks.append(_side_by_side({own_name: metrics, **others}, COMPARED))

    table = pd.DataFrame({"label": list(label_names), "AP": [metrics["AP"][name] for name in label_names]})
    if predictions is not None:
        table = label_table(predictions, threshold).set_index("label").loc[list(label_names)].reset_index()
    for head, other in others.items():
        table.insert(list(table).index("AP") + 1, f"AP {head}", [other["AP"][name] for name in label_names])
    blocks.append(_label_lines(table, RunFile.METRICS if predictions is None else RunFile.PER_LABEL))
    return "\n\n".join(blocks)


def _label_lines(table: pd.DataFrame, file: str) -> str:
    """All labels, with fractions in percent; of many, the most frequent ones, the worst, and the file with all."""
    if len(table) <= PRINTED:
        return aligned(_in_percent(table))
    kinds = {"with the most images": -table["positives"]} if "positives" in table else {}
    blocks = []
    for words, keys in {**kinds, "with the lowest AP": table["AP"].dropna()}.items():
        rows = table.loc[keys.sort_values(kind="stable").index[:FEW]]
        blocks.append(f"{len(rows)} labels {words}\n{aligned(_in_percent(rows))}")
    return "\n\n".join([*blocks, f"{file} has all {len(table):,} labels"])


def _in_percent(table: pd.DataFrame) -> pd.DataFrame:
    fractions = table.columns.difference(["label", "train_positives", "group", "positives"])
    return table.assign(**{column: [percent(value) for value in table[column]] for column in fractions})


def _calibration_lines(calibration: Mapping[str, Any]) -> str:
    """One line of the scores, and one of those before calibration."""
    named = {"calibration": calibration} | ({"before": calibration["before"]} if "before" in calibration else {})
    rows = [
        {
            "": name,
            "error, all pairs": percent(figures["ECE"]),
            "mean of labels": percent(figures["ECE_mean"]),
            **{f"{group} labels": percent(figures[f"ECE_{group}"]) for group in GROUPS if f"ECE_{group}" in figures},
            "Brier": "–" if figures["Brier"] is None else f"{figures['Brier']:.4f}",
        }
        for name, figures in named.items()
    ]
    return aligned(pd.DataFrame(rows))


def _group_lines(metrics: Mapping[str, Any]) -> str:
    """One line per frequency group."""
    rare, common = metrics["frequency_limits"]
    spans = (f"up to {rare}", f"{rare + 1} to {common}", f"above {common}")
    rows = [
        {
            "": group,
            "training positives": span,
            "labels": metrics[f"labels_{group}"],
            "mAP": percent(metrics[f"mAP_{group}"]),
        }
        for group, span in zip(GROUPS, spans, strict=True)
    ]
    return aligned(pd.DataFrame(rows))


def _side_by_side(rows: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> str:
    percents = [{"": name, **{key: percent(row[key]) for key in keys}} for name, row in rows.items()]
    return aligned(pd.DataFrame(percents))


def aligned(table: pd.DataFrame) -> str:
    """A table as text: columns of text, the first aligned left, the others right."""
    texts = [[in_line(str(text)) for text in (head, *table[head])] for head in table.columns]
    widths = [max(map(len, column)) for column in texts]
    rows = zip(*texts, strict=True)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def percent(value: float | None) -> str:
    """A fraction as text, in percent with one decimal, or a dash for None."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"
