"""Training on logits that agree with a hierarchy of labels: the loss of C-HMCNN, off by default."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sct_hf.model.hierarchy_sct import LabelHierarchy
from sct_hf.model.outputs_sct import asymmetric_loss, known_targets
from sct_hf.model.transport_sct import full_precision
from sct_hf.objectives.base import Context, Objective, Step, register_objective
from sct_hf.options import CheckedOptions, option, require

_NEEDS = "it needs --hierarchy"


@dataclass
class HierarchyOptions(CheckedOptions):
    """Options of the hierarchy's loss."""

    hierarchy_loss_weight: float = option(
        0.0,
        "Weight of the loss that makes scores agree with --hierarchy; 0 turns it off.",
        group="what is learnt from labels",
        within=">= 0",
    )


@register_objective("hierarchy")
class Hierarchy(Objective):
    """The loss "hierarchy": `hierarchy_loss` of the model's logits.

    Args:
        weight: Weight of the loss.
    """

    Options = HierarchyOptions

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    @classmethod
    def check_arguments(cls, options: HierarchyOptions, arguments: Any) -> None:
        """Refuse a weight without `--hierarchy`."""
        weight = options.hierarchy_loss_weight
        require(not weight or arguments.data.hierarchy is not None, "hierarchy_loss_weight", weight, _NEEDS)

    @classmethod
    def from_options(cls, options: HierarchyOptions, context: Context) -> Self | None:
        """Make the part if its weight is above 0.

        Raises:
            InputError: The labels have no hierarchy.
        """
        weight = options.hierarchy_loss_weight
        if not weight:
            return None
        require(context.model.hierarchy is not None, "hierarchy_loss_weight", weight, _NEEDS)
        return cls(weight)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """The loss "hierarchy"."""
        return {"hierarchy": hierarchy_loss(step.model.hierarchy, step.logits, step.labels, **step.focus)}

    def weights(self, progress: float) -> dict[str, float]:
        """The weight of the loss, constant over training."""
        return {"hierarchy": self.weight}


def hierarchy_loss(hierarchy: LabelHierarchy, logits: Tensor, targets: Tensor, **focus: Any) -> Tensor:
    """The loss of C-HMCNN (MCLoss, see `LabelHierarchy`), with the asymmetric loss instead of cross-entropy.

    An absent label is scored by the highest logit among itself and its descendants. A present label is scored by the
    highest logit among those of them that are present too, so a wrong child gains nothing from its parent. Unknown
    targets are ignored, both as labels and as descendants.

    Args:
        hierarchy: The hierarchy of the labels.
        logits: (B, C), any float dtype, not yet raised.
        targets: (B, C): 1, 0, values between (only 1 counts as present), −1 or NaN unknown. A parent counts as 1 if a
            child is 1.
        **focus: Arguments of `asymmetric_loss`.

    Returns:
        A scalar, float32 (float64 for float64 logits): the mean over the known targets.
    """
    logits, (known, y) = full_precision(logits), known_targets(targets)
    present = y == 1
    raised = hierarchy(logits.masked_fill(~known, -torch.inf))  # (B, C)
    raised_by_present = hierarchy(logits.masked_fill(~present, -torch.inf))  # (B, C)
    return asymmetric_loss(torch.where(present, raised_by_present, raised), targets, **focus)
