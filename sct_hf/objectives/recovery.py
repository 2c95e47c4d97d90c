"""Recovery of unknown labels by the model that is being trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from sct_hf.errors import InputError
from sct_hf.model.backbone_sct import capability
from sct_hf.model.losses_sct import asymmetric_loss, known_targets, weighted_sum
from sct_hf.objectives.base import Context, Objective, Step, register_objective
from sct_hf.objectives.unknown_labels import assume_negative
from sct_hf.options import CheckedOptions, option

_GROUP = "what is learnt from labels"


@dataclass
class RecoveryOptions(CheckedOptions):
    """How unknown labels are recovered."""

    recovery_weight: float = option(1.0, "Weight of the loss on recovered labels.", group=_GROUP, within=">= 0")
    recovery_temperature: float = option(
        0.5,
        "Divides the logits that recovered labels are made of; below 1, labels are nearer to 0 and 1.",
        group=_GROUP,
        within="> 0",
    )
    recovery_warmup: float = option(
        0.25, "Share of the steps in which that weight rises from 0.", group=_GROUP, within="[0, 1]"
    )


@register_objective("recovery")
class Recovery(Objective):
    """The loss "recovery": that of every branch on pseudo-targets, what is known and elsewhere the teacher's scores.

    CLSL trains one branch on the known entries, and a second one on pseudo-targets: what is known, and elsewhere the
    first one's scores, without gradient. Ours: all branches of the model take part, so that nothing is trained that is
    thrown away; pseudo-targets are scores of the averaged weights (as in mean teacher, Tarvainen & Valpola, 2017),
    sharpened by a temperature (as in MixMatch, Berthelot et al., 2019); and where not one absent label is known, the
    other losses take unknown labels as absent, since "present" everywhere would fit what is known.

    Args:
        context: Gives the teacher, the weights of the branches' losses, and the training targets: whether an entry is
            known to be absent.
        options: Weight, temperature and warm-up.
    """

    Options: ClassVar[type] = RecoveryOptions
    rank = 3
    needs_teacher = True
    treatment: ClassVar[str] = "recover"

    def __init__(self, context: Context, options: RecoveryOptions) -> None:
        super().__init__()
        self.options, self.only_present = options, not (context.targets == 0).any()
        self._teacher: Callable[[], Any] = context.teacher
        self._branch_weights = dict(context.model.loss_weights)

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Self | None:
        """Make the part where it is asked for and labels are unknown.

        Raises:
            InputError: A model that learns from known labels' states.
        """
        if not cls.asked(context):
            return None
        if capability(context.model, "takes_known_labels"):
            raise InputError(
                f"unknown_labels is {cls.treatment!r}: what is recovered would be learnt from known labels' "
                "own states; choose another head, or ignore or negative"
            )
        return cls(context, context.options_of("recovery"))

    @classmethod
    def asked(cls, context: Context) -> bool:
        """Whether options ask for this treatment, and labels are unknown."""
        treatment = context.options_of("unknown_labels").unknown_labels
        return treatment == cls.treatment and not (context.targets >= 0).all()

    def prepare(self, inputs: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Take unknown targets (B, C) as absent where not one absent label is known."""
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
        """The asymmetric losses of the branches, weighted as the model weighs them.

        Args:
            step: Of the model in training.
            known: Bool (B, C).
            targets: (B, C): what is known, and elsewhere the teacher's scores.
        """
        losses = {name: asymmetric_loss(logits, targets, **step.focus) for name, logits in step.branches.items()}
        return weighted_sum(losses, self._branch_weights)

    def weights(self, progress: float) -> dict[str, float]:
        """A weight that rises in a line from 0 over the warm-up, a share of all steps; 0 for none."""
        weight, warmup = self.options.recovery_weight, self.options.recovery_warmup
        return {"recovery": weight * min(progress / warmup, 1.0) if warmup else weight}
