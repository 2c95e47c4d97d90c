"""Unknown labels in training: ignored by default, treated as absent, or recovered by other parts."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from sct_hf.data.label_counts import LabelCounts
from sct_hf.objectives.base import OBJECTIVES, Context, Objective, register_objective
from sct_hf.options import CheckedOptions, option, require

_LEFT_OUT = "ignore"


@dataclass
class UnknownLabelsOptions(CheckedOptions):
    """Options of the treatment of unknown labels."""

    unknown_labels: str = option(
        _LEFT_OUT,
        "Unknown labels in training: ignore leaves them out of the losses, negative treats them as absent, recover "
        "uses scores of the averaged weights, blend also blends them with other images and prototypes.",
        group="what is learnt from labels",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        choices = (_LEFT_OUT, *(part.treatment for part in OBJECTIVES.values() if part.treatment))
        value = self.unknown_labels
        require(value in choices, "unknown_labels", value, f"choose from {', '.join(choices)}")


@register_objective("unknown_labels")
class AssumeNegative(Objective):
    """Treat unknown labels as absent."""

    Options = UnknownLabelsOptions
    rank = 0
    treatment: ClassVar[str] = "negative"

    @classmethod
    def from_options(cls, options: UnknownLabelsOptions, context: Context) -> Self | None:
        """Make the part if `unknown_labels` is negative."""
        return cls() if options.unknown_labels == cls.treatment else None

    def prepare(self, inputs: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Set unknown targets (B, C) to 0."""
        return inputs, assume_negative(labels)


def assume_negative(labels: Tensor) -> Tensor:
    """Targets with unknown values (−1 or NaN) set to 0."""
    return torch.where(labels >= 0, labels, 0.0)


def unknown_are_negative(context: Context) -> bool:
    """Whether unknown labels count as absent: if training treats them so, or if no label is known to be absent.

    In the latter case every label would else always be present.
    """
    asked = context.options_of("unknown_labels").unknown_labels == AssumeNegative.treatment
    return asked or not context.counts.negatives.any()


def label_counts(context: Context) -> LabelCounts:
    """The counts of the training labels; unknown ones count as `unknown_are_negative` says."""
    return context.counts.assuming_negative() if unknown_are_negative(context) else context.counts
