"""The model's own losses on the targets, with settings of each label where labels are unbalanced."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sct_hf.objectives.base import Context, Objective, Step, register_objective
from sct_hf.objectives.label_balance import BalanceOptions, LabelCounts, label_focus
from sct_hf.objectives.unknown_labels import counted_targets


@register_objective("supervised")
class Supervised(Objective):
    """The losses that the model gives, one of each branch and others of its own, by the weights that it gives.

    Args:
        weights: Of these losses, by name.
        focus: (C,) arguments of `asymmetric_loss` that differ between labels, for every such loss of training.
    """

    Options = BalanceOptions
    rank = 0

    def __init__(self, weights: Mapping[str, float], focus: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self._weights, self._focused = dict(weights), list(focus)
        for name, values in focus.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)  # (C,)

    @classmethod
    def from_options(cls, options: BalanceOptions, context: Context) -> Self:
        """Make the part, which every run has.

        Raises:
            InputError: A file of weights or exponents that is missing or cannot be used.
        """
        counts = LabelCounts.of(counted_targets(context))
        focus = label_focus(options, counts, context.label_names, context.model.config.focus)
        return cls(context.model.loss_weights, focus)

    def focus(self, focus: dict[str, Any]) -> dict[str, Any]:
        """Put the settings of each label in the place of those for all, or beside them."""
        return focus | {name: getattr(self, name) for name in self._focused}

    def forward(self, step: Step) -> dict[str, Tensor]:
        """The losses of `model.losses`."""
        return step.model.losses(step.branches, step.match, step.labels, **step.focus)

    def weights(self, progress: float) -> dict[str, float]:
        """Those of `model.loss_weights`."""
        return self._weights
