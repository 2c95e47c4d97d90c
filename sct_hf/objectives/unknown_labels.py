"""Unknown labels in training: left out of the losses by default, taken as absent, or recovered by further parts."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from sct_hf.objectives.base import Context, Objective, register_objective
from sct_hf.options import CheckedOptions, option


@dataclass
class UnknownLabelsOptions(CheckedOptions):
    """What is done about unknown labels."""

    unknown_labels: Literal["ignore", "negative", "recover", "blend"] = option(
        "ignore",
        "Unknown labels in training: left out of the losses, taken as absent, recovered by the averaged model, or "
        "recovered and blended with known ones of other images and with prototypes.",
        group="what is learnt from labels",
    )


@register_objective("unknown_labels")
class AssumeNegative(Objective):
    """Takes unknown labels as absent."""

    Options = UnknownLabelsOptions
    rank = 0

    @classmethod
    def from_options(cls, options: UnknownLabelsOptions, context: Context) -> Self | None:
        """Make the part where it is asked for."""
        return cls() if options.unknown_labels == "negative" else None

    def prepare(self, inputs: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Make unknown targets (B, C) 0."""
        return inputs, assume_negative(labels)


def assume_negative(labels: Tensor) -> Tensor:
    """Targets with 0 where they were unknown (−1 or NaN)."""
    return torch.where(labels >= 0, labels, 0.0)


def counted_targets(context: Context) -> np.ndarray:
    """The training targets (N, C) as labels are counted by: unknown ones absent where training takes them so.

    Where not one absent label is known, unknown ones are absent whatever is done about them: else every label would
    always be present.
    """
    targets = torch.as_tensor(context.targets)
    negative = context.options_of("unknown_labels").unknown_labels == "negative" or not (targets == 0).any()
    return (assume_negative(targets) if negative else targets).numpy()
