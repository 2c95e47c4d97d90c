"""`sct_hf.metrics.multilabel_metrics` as a module of the `evaluate` library.

The library finds the script because it has its folder's name: `evaluate.load("…/multilabel_metrics")`.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from sct_hf.metrics.functional import METRICS, multilabel_metrics

DESCRIPTION = "mAP in three definitions, class-wise, overall and top-3 precision, recall and F1, with unknown targets."

INPUTS = """
Args:
    predictions: N lists of C scores.
    references: N lists of C targets: 1 positive, 0 negative, -1 or NaN unknown.
    threshold: a number, or one for each label. Default 0.5.
    label_names: C names, the keys of "AP". Default "0", "1", …
Returns:
""" + "\n".join(f"    {key}: {meaning}" for key, meaning in METRICS.items())


class MultilabelMetricsModule(evaluate.Metric):
    """Metrics of scores (N, C) against targets (N, C) that may be unknown."""

    def _info(self) -> evaluate.MetricInfo:
        row = datasets.List(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(
        self,
        predictions: list[list[float]],
        references: list[list[float]],
        threshold: float | Sequence[float] = 0.5,
        label_names: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        return multilabel_metrics(predictions, references, threshold, label_names)
