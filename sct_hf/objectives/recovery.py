"""Recovery of unknown labels by the averaged weights of the model in training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from sct_hf.errors import InputError
from sct_hf.model.backbone_sct import capability
from sct_hf.model.outputs_sct import asymmetric_loss, known_targets, weighted_sum
from sct_hf.objectives.base import Context, Objective, Step, register_objective
from sct_hf.objectives.unknown_labels import assume_negative
from sct_hf.options import CheckedOptions, option

_GROUP = "what is learnt from labels"


@dataclass
class RecoveryOptions(CheckedOptions):
    """Options of the recovery of unknown labels."""

    recovery_weight: float = option(1.0, "Weight of the loss on recovered labels.", group=_GROUP, within=">= 0")
    recovery_temperature: float = option(
        0.5,
        "Divide the logits of recovered labels by this; values below 1 move the labels towards 0 and 1.",
        group=_GROUP,
        within="> 0",
    )
    recovery_warmup: float = option(
        0.25, "Share of the steps in which recovery_weight rises from 0.", group=_GROUP, within="[0, 1]"
    )


@register_objective("recovery")
class Recovery(Objective):
    """The loss "recovery": every branch on pseudo-targets, which fill unknown labels with the teacher's scores.

    CLSL trains one branch on the known labels. A second one gets pseudo-targets: known labels, and elsewhere the
    first branch's scores, without gradient. This project changes three things. All branches take part, so no trained
    part is discarded. Pseudo-targets are scores of the averaged weights (mean teacher, Tarvainen & Valpola, 2017),
    sharpened by a temperature (MixMatch, Berthelot et al., 2019). If no label is known to be absent, the other losses
    treat unknown labels as absent; else "present" everywhere would fit the known labels.

    Args:
        context: Provides the teacher, the weights of the branches' losses, and the counts of the training labels.
        options: Weight, temperature and warm-up.
    """

    Options: ClassVar[type] = RecoveryOptions
    rank = 3
    needs_teacher = True
    treatment: ClassVar[str] = "recover"

    def __init__(self, context: Context, options: RecoveryOptions) -> None:
        super().__init__()
        self.options, self.only_present = options, not context.counts.negatives.any()
        self._teacher: Callable[[], Any] = context.teacher
        self._branch_weights = dict(context.model.loss_weights)

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Self | None:
        """Make the part if it is asked for and some labels are unknown.

        Raises:
            InputError: The model takes known labels as input.
        """
        if not cls.asked(context):
            return None
        if capability(context.model, "takes_known_labels"):
            raise InputError(
                f"unknown_labels is {cls.treatment!r}, but this head gets known labels as input and would only copy "
                "them: choose another head, or ignore or negative"
            )
        return cls(context, context.options_of("recovery"))

    @classmethod
    def asked(cls, context: Context) -> bool:
        """Whether options ask for this treatment and some labels are unknown."""
        treatment = context.options_of("unknown_labels").unknown_labels
        return treatment == cls.treatment and bool(context.counts.unknown.any())

    def prepare(self, inputs: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Treat unknown targets (B, C) as absent if no label is known to be absent."""
        return inputs, assume_negative(labels) if self.only_present else labels

    def forward(self, step: Step) -> dict[str, Tensor]:
        """The loss "recovery"."""
        known, values = known_targets(step.labels)  # (B, C) each
        if self.only_present:  # what is absent now was unknown
            known = values > 0
        with torch.no_grad():
            scores = (self._teacher()(**step.inputs).logits / self.options.recovery_temperature).sigmoid()  # (B, C)
        return {"recovery": self.loss(step, known, torch.where(known, values, scores))}

    def loss(self, step: Step, known: Tensor, targets: Tensor) -> Tensor:
        """The asymmetric losses of the branches, with the model's weights.

        Args:
            step: A step of the model in training.
            known: Bool (B, C), whether a label is known.
            targets: (B, C): known labels, and elsewhere the teacher's scores.
        """
        losses = {name: asymmetric_loss(logits, targets, **step.focus) for name, logits in step.branches.items()}
        return weighted_sum(losses, self._branch_weights)

    def weights(self, progress: float) -> dict[str, float]:
        """A weight that rises linearly from 0 during warm-up; `recovery_warmup` is its share of all steps."""
        weight, warmup = self.options.recovery_weight, self.options.recovery_warmup
        return {"recovery": weight * min(progress / warmup, 1.0) if warmup else weight}
