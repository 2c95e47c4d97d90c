"""The model's own losses on the targets, with optional settings for each label."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sct_hf.objectives.base import Context, Objective, Step, register_objective
from sct_hf.objectives.label_balance import BalanceOptions, label_focus
from sct_hf.objectives.unknown_labels import label_counts


@register_objective("supervised")
class Supervised(Objective):
    """The model's own losses, one per branch and further ones, with the model's weights.

    Args:
        weights: Weights of these losses, by name.
        focus: Arguments (C,) of `asymmetric_loss` for each label, used by every such loss of training.
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
        """Make the part. Every run has it.

        Raises:
            InputError: A file of weights or exponents is missing or cannot be used.
        """
        focus = label_focus(options, label_counts(context), context.label_names, context.model.config.focus)
        return cls(context.model.loss_weights, focus)

    def focus(self, focus: dict[str, Any]) -> dict[str, Any]:
        """Replace or extend the settings for all labels by those of each label."""
        return focus | {name: getattr(self, name) for name in self._focused}

    def forward(self, step: Step) -> dict[str, Tensor]:
        """The losses of `model.losses`."""
        return step.model.losses(step.branches, step.match, step.labels, **step.focus)

    def weights(self, progress: float) -> dict[str, float]:
        """The weights of `model.loss_weights`, constant over training."""
        return self._weights
