"""Label mask training of C-Tran (CVPR 2021): the model gets some targets as input and learns the others."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from sct_hf.model.backbone_sct import capability
from sct_hf.objectives.base import Context, Objective, register_objective
from sct_hf.options import CheckedOptions, option
from sct_hf.variants.known_labels import KNOWN_SHARE_MAX, draw_known_labels, without_known


@dataclass
class KnownLabelsOptions(CheckedOptions):
    """Options of known labels in training."""

    known_share_max: float = option(
        KNOWN_SHARE_MAX,
        "Largest share of an image's labels that training tells sct_known_labels.",
        group="what is learnt from labels",
        within="(0, 1]",
    )


@register_objective("known_labels")
class KnownLabels(Objective):
    """Give the model some targets of each image, drawn at random. All losses ignore these.

    Args:
        share_max: Largest share of an image's targets to give, in (0, 1].
    """

    Options = KnownLabelsOptions

    def __init__(self, share_max: float) -> None:
        super().__init__()
        self.share_max = share_max

    @classmethod
    def from_options(cls, options: KnownLabelsOptions, context: Context) -> Self | None:
        """Make the part if the model takes known labels."""
        return cls(options.known_share_max) if capability(context.model, "takes_known_labels") else None

    def prepare(self, inputs: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Add the input `known` (B, C): the target if drawn, else −1. Drawn targets (B, C) become NaN."""
        known = draw_known_labels(labels, self.share_max)
        return {**inputs, "known": known}, without_known(labels, known)
