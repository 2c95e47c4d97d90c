"""From scores to tags."""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

THRESHOLD = 0.5
"""Least score of a tag where the checkpoint gives none."""


def label_names(model: PreTrainedModel) -> list[str]:
    """The labels' names in the order of the logits."""
    config: Any = model.config
    return [str(config.id2label[label]) for label in range(config.num_labels)]


def has_plan(model: PreTrainedModel) -> bool:
    """Whether a model gives its transport plan when asked for maps."""
    return "output_maps" in inspect.signature(model.forward).parameters


def thresholds_of(
    model: PreTrainedModel, names: Sequence[str], threshold: float | Mapping[str, float] | None = None
) -> np.ndarray:
    """Tell from which score each label is a tag.

    Args:
        model: Its config may hold `thresholds`, one a label; a label that it does not know has 0.5.
        names: The labels' names, those of the checkpoint or others.
        threshold: One number for all labels, or numbers by name, before the checkpoint's own.

    Returns:
        (len(names),) float32.

    Raises:
        ValueError: A threshold outside [0, 1], or for a name that is not among `names`.
    """
    given = threshold if isinstance(threshold, Mapping) else dict.fromkeys(names, threshold)
    for name, value in given.items():
        if name not in names:
            raise ValueError(f"threshold: no label is called {name!r}; the labels are {_some(names)}")
        if value is not None and not (_is_real(value) and 0 <= value <= 1):
            raise ValueError(f"threshold is {value!r}: give a score from 0 to 1, or such scores by label")
    own = dict(zip(label_names(model), getattr(model.config, "thresholds", None) or (), strict=False))
    found = [own.get(name, THRESHOLD) if (value := given.get(name)) is None else value for name in names]
    return np.array(found, dtype=np.float32)


def select_tags(scores: np.ndarray, thresholds: np.ndarray, top_k: int | None = None) -> list[int]:
    """Choose the labels that reach their thresholds, by falling score, at most `top_k` of them.

    Args:
        scores: (C,) of one image.
        thresholds: (C,).
        top_k: No limit if None.

    Raises:
        ValueError: A score that is no number.
    """
    if not np.isfinite(scores).all():
        raise ValueError("model: its scores are not numbers; its weights are broken, or overflow their dtype")
    order = np.argsort(-scores, kind="stable")
    return [int(label) for label in order if scores[label] >= thresholds[label]][:top_k]


def check_count(field: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is None or a whole number from 1."""
    if value is not None and not (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        raise ValueError(f"{field} is {value!r}: give a whole number from 1")


def _is_real(value: Any) -> bool:
    return isinstance(value, float | int | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


__all__ = ["THRESHOLD", "check_count", "has_plan", "label_names", "select_tags", "thresholds_of"]
