"""Metrics of a whole data set: this package, scikit-learn and torchmetrics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sct_hf.benchmark.timing import Case, columns, interleaved
from sct_hf.errors import InputError
from sct_hf.metrics.functional import multilabel_metrics

REFERENCE = "sct_hf, all figures"
POSITIVES = 2.9  # labels of an image of COCO, on average


def measure_metrics(*, images: int, labels: int, rounds: int, budget: float) -> list[dict[str, Any]]:
    """Time metrics on random scores and targets, in turns, on the CPU.

    All three compute mean average precision with step-wise area, the only definition they share; `value` is that
    figure, in [0, 1]. This package computes all of `sct_hf.metrics.functional.METRICS` at the same time.

    Args:
        images: Images N.
        labels: Labels C.
        rounds: Measurements of each.
        budget: Seconds for the rounds, see `interleaved`.

    Returns:
        A row for each: time in ms, its ratio to this package, and `value`.

    Raises:
        InputError: scikit-learn or torchmetrics is not installed.
    """
    try:
        from sklearn.metrics import average_precision_score, precision_recall_fscore_support
        from torchmetrics.functional.classification import multilabel_average_precision, multilabel_f1_score
    except ImportError as error:
        raise InputError(
            f"parts has 'metrics', which needs {error.name}: pip install 'sct_hf[benchmark]', or leave it out"
        ) from error
    generator = np.random.default_rng(0)
    targets = (generator.random((images, labels)) < POSITIVES / labels).astype(np.float32)  # (N, C)
    scores = (0.3 * targets + 0.7 * generator.random((images, labels))).astype(np.float32)  # (N, C)
    whole, predicted = targets.astype(np.int64), scores >= 0.5
    truth, values = torch.from_numpy(whole), torch.from_numpy(scores)

    def sklearn_f1() -> float:
        for average in ("macro", "micro"):
            precision_recall_fscore_support(whole, predicted, average=average, zero_division=0.0)
        return average_precision_score(whole, scores, average="macro")

    def torchmetrics_f1() -> float:
        for average in ("macro", "micro"):
            multilabel_f1_score(values, truth, num_labels=labels, average=average)
        return float(multilabel_average_precision(values, truth, num_labels=labels, average="macro"))

    computed: dict[str, Callable[[], float]] = {
        REFERENCE: lambda: multilabel_metrics(scores, targets)["mAP_sklearn"],
        "scikit-learn, mAP": lambda: average_precision_score(whole, scores, average="macro"),
        "scikit-learn, mAP and P, R, F1": sklearn_f1,
        "torchmetrics, mAP": lambda: float(
            multilabel_average_precision(values, truth, num_labels=labels, average="macro")
        ),
        "torchmetrics, mAP and F1": torchmetrics_f1,
    }
    times = interleaved({name: Case(call) for name, call in computed.items()}, rounds=rounds, budget=budget)
    return [
        {"images": images, "labels": labels, "metrics": name, "rounds": len(times[name].seconds)}
        | columns("time", times[name], times[REFERENCE])
        | {"value": float(call())}
        for name, call in computed.items()
    ]
