"""Unknown labels in training: taken as absent, or recovered by the model while it learns."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sct_hf.model.losses_sct import asymmetric_loss, known_targets
from sct_hf.model.outputs_sct import MultiLabelOutput
from sct_hf.training.ema import AveragedModel
from sct_hf.training.models import TaggingModel


def assume_negative(labels: Tensor) -> Tensor:
    """Targets with 0 where they were unknown (−1 or NaN)."""
    return torch.where(labels >= 0, labels, 0.0)


def recovery_weight(progress: float, weight: float, warmup: float) -> float:
    """Weight of the loss on recovered labels: rises in a line from 0 over the share `warmup` of the steps.

    Args:
        progress: Share of all steps that are done.
        weight: What it rises to.
        warmup: Share of all steps that it takes; 0 for none.
    """
    return weight * min(progress / warmup, 1.0) if warmup else weight


class LabelRecovery(nn.Module):
    """A model in training, and the losses on its unknown labels; a checkpoint holds the model alone.

    The kin trains one branch on the known entries, and a second one on pseudo-targets: what is known, and elsewhere
    the first one's scores, without gradient. Ours: the second branch is the model's own kinds of scores, each on top
    of its loss on known entries, and pseudo-targets come from the averaged weights (as in mean teacher, Tarvainen &
    Valpola, 2017).

    Args:
        model: The model, not wrapped for several processes.
        teacher: Gives the model with the averaged weights, in evaluation mode.
    """

    def __init__(self, model: TaggingModel, teacher: Callable[[], TaggingModel]) -> None:
        super().__init__()
        self.model = model
        self._teacher = teacher

    def forward(self, labels: Tensor, *, weight: float, **inputs: Any) -> MultiLabelOutput:
        """Score pictures and add the loss on recovered labels, "recovery", to the model's own.

        Args:
            labels: (B, C), values in [0, 1], −1 or NaN unknown.
            weight: Of that loss.
            **inputs: Further arguments of the model's forward.
        """
        output = self.model(labels=labels, output_branches=True, output_label_features=True, **inputs)
        with torch.no_grad():
            scores = self._teacher()(**inputs).logits.sigmoid()  # (B, C)
        recovery = self.recovery_loss(output, labels, scores)
        output.losses = output.losses | {"recovery": recovery}
        output.loss = output.loss + weight * recovery
        return output

    def recovery_loss(self, output: MultiLabelOutput, labels: Tensor, scores: Tensor) -> Tensor:
        """The loss of each kind of scores on pseudo-targets, by the weights that the model gives them.

        Args:
            output: Of the model.
            labels: (B, C).
            scores: The teacher's, (B, C) in [0, 1].
        """
        known, targets = known_targets(labels)
        targets = torch.where(known, targets, scores)  # (B, C)
        return self._loss(output, targets)

    def _loss(self, output: MultiLabelOutput, targets: Tensor) -> Tensor:
        config = self.model.config
        branches = output.branch_logits or {"whole": output.logits}
        weights = {"map": config.semantic_loss_weight} if "map" in branches else {}
        return sum(
            weights.get(name, 1.0)
            * asymmetric_loss(
                logits, targets, gamma_neg=config.gamma_neg, gamma_pos=config.gamma_pos, clip=config.clip
            )
            for name, logits in branches.items()
        )


def make_recovery(unknown_labels: str, model: TaggingModel, average: AveragedModel) -> LabelRecovery | None:
    if unknown_labels in ("ignore", "negative"):
        return None
    return LabelRecovery(model, lambda: average.model)
