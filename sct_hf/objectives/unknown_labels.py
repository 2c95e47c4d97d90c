"""Unknown labels in training: left out of the losses by default, taken as absent, or recovered by further parts."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from sct_hf.objectives.base import OBJECTIVES, Context, Objective, register_objective
from sct_hf.options import CheckedOptions, option, require

_LEFT_OUT = "ignore"


@dataclass
class UnknownLabelsOptions(CheckedOptions):
    """What is done about unknown labels."""

    unknown_labels: str = option(
        _LEFT_OUT,
        "Unknown labels in training: ignore leaves them out of the losses, negative takes them as absent, recover has "
        "the averaged model score them, blend also blends them with known ones of other images and with prototypes.",
        group="what is learnt from labels",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        choices = (_LEFT_OUT, *(part.treatment for part in OBJECTIVES.values() if part.treatment))
        value = self.unknown_labels
        require(value in choices, "unknown_labels", value, f"choose from {', '.join(choices)}")


@register_objective("unknown_labels")
class AssumeNegative(Objective):
    """Takes unknown labels as absent."""

    Options = UnknownLabelsOptions
    rank = 0
    treatment: ClassVar[str] = "negative"

    @classmethod
    def from_options(cls, options: UnknownLabelsOptions, context: Context) -> Self | None:
        """Make the part where it is asked for."""
        return cls() if options.unknown_labels == cls.treatment else None

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
    asked = context.options_of("unknown_labels").unknown_labels == AssumeNegative.treatment
    negative = asked or not (targets == 0).any()
    return (assume_negative(targets) if negative else targets).numpy()
