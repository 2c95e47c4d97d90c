"""Metrics of multi-label classification: on arrays, streaming, and as an `evaluate` module.

`METRICS` explains every key, `HIERARCHICAL_METRICS` those for labels in a hierarchy.
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
