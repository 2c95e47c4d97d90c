"""Recovery of unknown labels by the model that is being trained."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sct_hf.model.backbone_sct import MultiLabelOutput
from sct_hf.model.losses_sct import asymmetric_loss, known_targets, loss_options
from sct_hf.training.models import TaggingModel


def assume_negative(labels: Tensor) -> Tensor:
    """Targets with 0 where they were unknown (−1 or NaN)."""
    return torch.where(labels >= 0, labels, 0.0)


class LabelRecovery(nn.Module):
    """A model in training and the losses on its unknown labels; what is saved in the end is the model alone.

    The kin trains one branch on the known entries, and a second one on pseudo-targets: what is known, and elsewhere
    the first one's scores, without gradient. Ours: both branches are the model's own kinds of scores, so that nothing
    is trained that is thrown away; pseudo-targets are scores of the averaged weights (as in mean teacher, Tarvainen &
    Valpola, 2017), sharpened by a temperature (as in MixMatch, Berthelot et al., 2019); and where not one absent label
    is known, the first branch takes unknown labels as absent, since "present" everywhere would fit what is known.

    Args:
        model: The model, not wrapped for several processes.
        teacher: Gives the model with the averaged weights, in evaluation mode.
        temperature: Divides the teacher's logits: below 1, pseudo-targets are nearer to 0 and 1 than its scores.
        only_present: No entry is known to be absent.
    """

    def __init__(
        self, model: TaggingModel, teacher: Callable[[], TaggingModel], *, temperature: float, only_present: bool
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.model = model
        self.only_present = only_present
        self._teacher = teacher

    def forward(self, labels: Tensor, *, weight: float, **inputs: Tensor) -> MultiLabelOutput:
        """Score images; the loss is the model's own and that on recovered labels, the part "recovery".

        Args:
            labels: (B, C), values in [0, 1], −1 or NaN unknown.
            weight: Of the loss on recovered labels.
            **inputs: Images or maps, as the model takes them.
        """
        own = assume_negative(labels) if self.only_present else labels
        output: MultiLabelOutput = self.model(labels=own, output_branches=True, output_label_features=True, **inputs)
        with torch.no_grad():
            scores = (self._teacher()(**inputs).logits / self.temperature).sigmoid()  # (B, C)
        recovery = self.recovery_loss(output, labels, scores)
        output.losses = {**(output.losses or {}), "recovery": recovery}
        assert output.loss is not None
        output.loss = output.loss + weight * recovery
        return output

    def recovery_loss(self, output: MultiLabelOutput, labels: Tensor, scores: Tensor) -> Tensor:
        """The losses of the model's kinds of scores on pseudo-targets, weighted as the model weighs them.

        Args:
            output: Of the model in training.
            labels: (B, C), −1 or NaN unknown.
            scores: The teacher's, (B, C) in [0, 1].
        """
        known, values = known_targets(labels)
        targets = torch.where(known, values, scores)  # (B, C)
        if output.branch_logits is None:  # a peer head has one kind of scores
            return self.classification_loss(output.logits, targets)
        weights = {"map": self.model.config.semantic_loss_weight}
        losses = [
            weights.get(name, 1.0) * self.classification_loss(logits, targets)
            for name, logits in output.branch_logits.items()
        ]
        return torch.stack(losses).sum()

    def classification_loss(self, logits: Tensor | None, targets: Tensor) -> Tensor:
        """The model's asymmetric loss of logits (B, C) on targets (B, C)."""
        assert logits is not None
        return asymmetric_loss(logits, targets, **loss_options(self.model.config, logits.device))
