"""Figures of merit for multi-label classification: on arrays, streaming, and as an `evaluate` module.

`METRICS` lists every key with its meaning, `HIERARCHICAL_METRICS` those of labels in a hierarchy.
"""

from .functional import METRICS, multilabel_metrics
from .hierarchical import HIERARCHICAL_METRICS, hierarchical_metrics
from .streaming import MultilabelMetrics

__all__ = [
    "HIERARCHICAL_METRICS",
    "METRICS",
    "MultilabelMetrics",
    "hierarchical_metrics",
    "multilabel_metrics",
]
