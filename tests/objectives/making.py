"""Objectives for tests, made from options by name as a run makes them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sct_hf.data.label_counts import LabelCounts
from sct_hf.objectives.base import OBJECTIVES, Context, TrainingObjective, make_objective
from sct_hf.options import options_of

UNKNOWN = np.array([[1.0, 0, -1]])
"""Training targets of three labels of which one is unknown."""


def make_context(
    model: Any, targets: np.ndarray = UNKNOWN, teacher: Callable[[], Any] | None = None, **values: Any
) -> Context:
    """The context of a run on `model`; keyword arguments are options by name."""
    options = {}
    for name, objective in OBJECTIVES.items():
        given = {key: values.pop(key) for key in options_of(objective.Options) if key in values}
        options[name] = objective.Options(**given)
    assert not values, f"no objective has the options {', '.join(values)}"
    teacher = teacher or (lambda: model)
    return Context(model, teacher, LabelCounts.of(targets), model.config.label_names, options, say=lambda text: None)


def objective_of(
    model: Any, targets: np.ndarray = UNKNOWN, teacher: Callable[[], Any] | None = None, **values: Any
) -> TrainingObjective:
    """The objective of a run on `model`, which keeps its mode."""
    return make_objective(make_context(model, targets, teacher, **values))


def losses_of(model: Any, images: Tensor, labels: Tensor, progress: float = 0.0, **values: Any) -> dict[str, Tensor]:
    """The losses of a batch from seed 0, "loss" and each by name."""
    torch.manual_seed(0)
    return objective_of(model, **values)(labels, progress, pixel_values=images)
