"""The tables and charts of report.html, of bounded size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sct_hf.data.summary import Summary
from sct_hf.metrics.calibration import calibration_metrics, reliability_curve
from sct_hf.metrics.confusions import confusions
from sct_hf.metrics.curves import precision_recall_points
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.pages import Chart, Column, Curve, Figure, Table
from sct_hf.training.figures import curve_name, curve_panels
from sct_hf.training.report import Predictions, label_table, percent

_ROWS = 2000  # of a table of labels
_CURVES = 1000  # labels with curves of their own
_POINTS = 60  # of such a curve
_CONFUSED = 300
_PAIRS = 100


def headline_figures(metrics: Mapping[str, Any], predictions: Predictions, thresholds: np.ndarray) -> list[Figure]:
    """The figures at the top: decisions at `thresholds` (C,), and beside them those at 0.5 if they are others."""
    _, scores, targets, names, *_ = predictions
    decided = multilabel_metrics(scores, targets, thresholds, names)
    calibration = calibration_metrics(scores, targets, names)
    judged = sum(ap is not None for ap in metrics["AP"].values())

    def decision(title: str, key: str) -> Figure:
        note = f"{percent(metrics[key])} at 0.5" if (thresholds != 0.5).any() else "at 0.5"
        return Figure(title, f"{percent(decided[key])} %", note)

    figures = [
        Figure("mAP", f"{percent(metrics['mAP'])} %", f"mean of {judged:,} labels"),
        decision("OF1", "OF1"),
        decision("CF1", "CF1"),
        decision("precision", "OP"),
        decision("recall", "OR"),
        decision("all labels right", "exact_match"),
        Figure("calibration error", f"{percent(calibration['ECE'])} %", f"{percent(calibration['ECE_mean'])} a label"),
        Figure("Brier score", "–" if calibration["Brier"] is None else f"{calibration['Brier']:.4f}"),
        Figure("images", f"{len(scores):,}", f"{len(names):,} labels"),
    ]
    if "train_images" in metrics:
        minutes = metrics["train_seconds"] / 60
        figures.append(Figure("trained on", f"{metrics['train_images']:,}", f"images, in {minutes:.1f} min"))
        best = f"mAP {percent(metrics['holdout_mAP'])} held out" if metrics["holdout_mAP"] is not None else "the last"
        figures.append(Figure("epoch", str(metrics["selected_epoch"]), best))
    return figures


def training_charts(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Losses, learning rates and mAP by epoch."""
    if not history:
        return []
    panels, axis = curve_panels(history)
    charts = []
    for title, keys in panels.items():
        curves = []
        for key in keys:
            seen = [row for row in history if row.get(key) is not None]
            scale = 100 if title.endswith("(%)") else 1
            y = [scale * row[key] for row in seen]
            curves.append(Curve(curve_name(key) or title, [row[axis] for row in seen], y, "dots"))
        values = np.array([value for curve in curves for value in curve.y], dtype=float)
        log = title == "loss" and values.min(initial=np.inf) > 0 and values.max(initial=0) > 50 * values.min()
        charts.append(Chart(title, axis, title, curves, log=bool(log)))
    return charts


def _most_frequent(predictions: Predictions, count: int) -> list[int]:
    """Columns of all labels, or if there are more than `count`, of those with the most positives, these first."""
    positives = (predictions.targets == 1).sum(axis=0)
    if len(positives) <= count:
        return list(range(len(positives)))
    return np.argsort(-positives, kind="stable")[:count].tolist()


def _limited(predictions: Predictions, count: int, what: str) -> str:
    labels = len(predictions.label_names)
    return f"The {count:,} labels with the most images, of {labels:,}; {what}" if labels > count else ""


def _of(predictions: Predictions, columns: list[int]) -> Predictions:
    counts, groups = predictions.train_positives, predictions.groups
    return predictions._replace(
        scores=predictions.scores[:, columns],
        targets=predictions.targets[:, columns],
        label_names=[predictions.label_names[column] for column in columns],
        train_positives=None if counts is None else counts[columns],
        groups=None if groups is None else [groups[column] for column in columns],
    )


def label_rows(predictions: Predictions, thresholds: np.ndarray) -> Table:
    """One row for each label: images, AP, and precision, recall and F1 at `thresholds` (C,)."""
    caption = _limited(predictions, _ROWS, "per_label.csv has all of them.")
    columns = _most_frequent(predictions, _ROWS)
    part = _of(predictions, columns)
    table = label_table(part, thresholds[columns])
    table["threshold"] = np.where(np.isfinite(thresholds[columns]), thresholds[columns], np.nan)
    errors = calibration_metrics(part.scores, part.targets, part.label_names)["ECE_by_label"]
    table["calibration error"] = [errors[name] for name in part.label_names]
    kinds: dict[str, Column] = {
        "label": Column("label"),
        "group": Column("group", help="By the number of training images"),
        "train_positives": Column("in training", "count", help="Training images that show the label"),
        "positives": Column("images", "count", help="Images of this split that show the label"),
        "AP": Column("AP", "percent", help="Average precision"),
        "precision": Column("precision", "percent"),
        "recall": Column("recall", "percent"),
        "F1": Column("F1", "percent"),
        "threshold": Column("threshold", "number", digits=2, help="Least score of a tag"),
        "calibration error": Column("calibration error", "percent", help="Mean distance of scores from shares"),
    }
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return Table([kinds[name] for name in table.columns], rows, caption)


def label_charts(predictions: Predictions, thresholds: np.ndarray) -> list[Chart]:
    """Precision against recall, and reliability: of all labels together, and of each of the most frequent ones."""
    _, scores, targets, names, *_ = predictions
    columns = _most_frequent(predictions, _CURVES)
    decided = label_table(_of(predictions, columns), thresholds[columns])
    recall, precision, _ = precision_recall_points(scores, targets, 200)
    ranking, reliability = {}, {}
    for column, *at in zip(columns, decided["recall"], decided["precision"], strict=True):
        name, part = names[column], (scores[:, [column]], targets[:, [column]])
        x, y, _ = precision_recall_points(*part, _POINTS)
        ranking[name] = [Curve(name, x, y), *([Curve("at its threshold", at[:1], at[1:], "dots")] if len(x) else [])]
        reliability[name] = [_reliability(name, *part)]
    return [
        Chart(
            "Precision and recall",
            "recall",
            "precision",
            [Curve("all labels together", recall, precision)],
            ranking,
            x_range=(0, 1),
            y_range=(0, 1.02),
            note=_limited(predictions, _CURVES, "the list has these."),
        ),
        Chart(
            "Reliability",
            "score",
            "share of images with the label",
            [_reliability("all labels together", scores, targets)],
            reliability,
            x_range=(0, 1),
            y_range=(0, 1),
            diagonal=True,
            note="On the dotted line, a score is the chance that the label is there. Below it, scores are too high.",
        ),
    ]


def _reliability(name: str, scores: np.ndarray, targets: np.ndarray) -> Curve:
    found = reliability_curve(scores, targets)
    return Curve(name, found["score"], found["positive"], "dots")


def confusion_table(predictions: Predictions, thresholds: np.ndarray) -> Table:
    """For labels that are predicted wrongly: what the images show, most first."""
    caption, columns = _limited(predictions, _ROWS, "others take no part."), _most_frequent(predictions, _ROWS)
    _, scores, targets, names, *_ = _of(predictions, columns)  # counts of pairs grow with the square of the labels
    wrong, there, missed = confusions(scores, targets, thresholds[columns])
    shares = (targets == 1).mean(axis=0)
    rate = there / np.maximum(wrong, 1)[:, None]
    excess = there - wrong[:, None] * shares  # images beyond what the label's frequency explains
    places = np.argsort(-excess, axis=None, kind="stable")[:_CONFUSED]
    rows = []
    for row, column in zip(*np.unravel_index(places, excess.shape), strict=True):
        if there[row, column] and excess[row, column] > 0:
            counts = (there[row, column], rate[row, column], shares[column], missed[row, column])
            rows.append([names[row], wrong[row], names[column], *counts])
    shown = [
        Column("predicted wrongly"),
        Column("images", "count", help="Images where the label is predicted, but absent"),
        Column("there instead"),
        Column("of these", "count", help="How many of them show the other label"),
        Column("share", "percent", help="The same as a share"),
        Column("usual share", "percent", help="Share of all images that show the other label"),
        Column("missed", "count", help="How many of them show the other label, which is not predicted"),
    ]
    return Table(shown, rows, caption)


def label_counts(summaries: Sequence[Summary]) -> Table:
    """Images and shares of each label, by split: of training, then of what is scored."""
    first = summaries[0]
    kept = np.argsort(-first.positives, kind="stable")[:_ROWS].tolist()
    columns, rows = [Column("label")], [[first.label_names[label]] for label in kept]
    for summary in summaries:
        columns += [Column(summary.name, "count"), Column("share", "percent")]
        if summary.unknown.any():
            columns.append(Column("unknown", "count", help="Images where nobody has judged the label"))
        for row, label in zip(rows, kept, strict=True):
            row += [summary.positives[label], summary.positives[label] / summary.images]
            if summary.unknown.any():
                row.append(summary.unknown[label])
    caption = f"The {_ROWS:,} labels with the most images." if len(first.label_names) > _ROWS else ""
    return Table(columns, rows, caption)


def pair_table(summary: Summary) -> Table:
    """Labels that are seen together most often."""
    columns = [Column("label"), Column("together with"), Column("images", "count"), Column("share", "percent")]
    pairs = summary.pairs()[:_PAIRS]
    return Table(columns, [[one, other, count, count / summary.images] for one, other, count in pairs])


def settings_table(arguments: Mapping[str, Any]) -> Table:
    """Options and their values."""
    return Table([Column("option"), Column("value")], [[name, str(value)] for name, value in arguments.items()])


def environment_table(metrics: Mapping[str, Any], record: Mapping[str, Any]) -> Table:
    """The machine, if known, and versions of packages."""
    facts = {**metrics.get("machine", {}), **record.get("versions", {})}
    if "weights_sha256" in metrics:
        facts["digest of the weights"] = metrics["weights_sha256"]
    return Table([Column("what"), Column("value")], [[name, str(value)] for name, value in facts.items()])
