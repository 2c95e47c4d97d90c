"""Figures of merit for multi-label classification: on arrays, streaming, and as an `evaluate` module.

`METRICS` lists every key with its meaning.
"""

from .functional import METRICS, multilabel_metrics
from .streaming import MultilabelMetrics

__all__ = ["METRICS", "MultilabelMetrics", "multilabel_metrics"]
