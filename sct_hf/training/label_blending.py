"""Recovery of unknown labels by blending what other pictures and prototypes show of a label."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sct_hf.model.losses_sct import known_targets
from sct_hf.model.modeling_sct import SCTForMultiLabelClassification
from sct_hf.model.outputs_sct import MultiLabelOutput
from sct_hf.training.label_recovery import LabelRecovery
from sct_hf.training.models import TaggingModel

_MOMENTUM = 0.95
_TEMPERATURE = 0.1


class LabelBlending(LabelRecovery):
    """Label recovery with blended representations (ours, after DSRB, Pu et al.).

    DSRB blends what an image shows of a label whose target is unknown with what another image, or a prototype of the
    label, shows of it, and trains on the blended target. Here the representation of a label in a picture is what SCT
    scores by label pooling: its pooled features and its label feature. For each picture and label,

    - one picture of the batch in which the label is known is drawn, the two representations are blended half and
      half, and the model's scorer of pooled features is trained on the same blend of their targets;
    - the score that stands in for an unknown label is the mean of the teacher's and of a prototype score: the softmax
      over the cosine similarities of the pooled features to two prototypes, the running means of what pictures show
      in which the label is known to be present and absent. A label for which one of the two has not been seen yet
      keeps the teacher's score.

    Args:
        model: SCT with label pooling.
        teacher: Gives the model with the averaged weights, in evaluation mode.
        temperature: Divides the teacher's logits.
        only_present: No entry is known to be absent.
    """

    prototypes: Tensor
    seen: Tensor

    def __init__(
        self, model: TaggingModel, teacher: Callable[[], TaggingModel], *, temperature: float, only_present: bool
    ) -> None:
        super().__init__(model, teacher, temperature=temperature, only_present=only_present)
        count, width = len(model.config.label_names), model.backbone.num_features
        self.register_buffer("prototypes", torch.zeros(2, count, width))  # of absent and of present labels
        self.register_buffer("seen", torch.zeros(2, count))  # batches that each was seen in

    def recovery_loss(self, output: MultiLabelOutput, labels: Tensor, scores: Tensor) -> Tensor:
        """The losses on pseudo-targets and on blended representations, see `LabelRecovery`."""
        features, label_features = output.pooled_features, output.label_features
        assert features is not None
        assert label_features is not None
        assert isinstance(self.model, SCTForMultiLabelClassification)
        assert self.model.pooled_scorer is not None
        known, values = known_targets(labels)
        directions = F.normalize(features.detach().float(), dim=-1)  # (B, C, D₀)
        self._update_prototypes(directions, known, values)
        scores = self._with_prototypes(directions, scores)
        targets = torch.where(known, values, scores)  # (B, C)

        partner = draw_partners(known)  # (B, C)
        blended = [_half_and_half(each, partner) for each in (features, label_features)]
        blended_targets = (targets + values.gather(0, partner)) / 2  # (B, C)
        blended_targets = torch.where(known.any(dim=0), blended_targets, torch.nan)
        label_text = self.model.sct.centred_text(None)  # (C, D_t)
        logits = self.model.pooled_scorer(*blended, label_text)  # (B, C)
        return super().recovery_loss(output, labels, scores) + self.classification_loss(logits, blended_targets)

    @torch.no_grad()
    def _update_prototypes(self, directions: Tensor, known: Tensor, values: Tensor) -> None:
        """Take in what pictures show of known labels (B, C, D₀): plain means at first, then with a momentum."""
        for sign, entries in enumerate((known & (values < 0.5), known & (values >= 0.5))):
            count = entries.sum(dim=0)  # (C,)
            mean = torch.einsum("bc,bcd->cd", entries.to(directions.dtype), directions)
            mean = mean / count.clamp(min=1).unsqueeze(1)
            self.seen[sign] += count > 0
            rate = (1 / self.seen[sign].clamp(min=1)).clamp(min=1 - _MOMENTUM) * (count > 0)
            self.prototypes[sign].lerp_(mean, rate.unsqueeze(1))

    def _with_prototypes(self, directions: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, C) averaged with those by likeness to the prototypes, for labels that have both."""
        similarity = torch.einsum("bcd,scd->sbc", directions, F.normalize(self.prototypes, dim=-1))
        likeness = (similarity / _TEMPERATURE).softmax(dim=0)[1]  # (B, C)
        return torch.where((self.seen > 0).all(dim=0), (scores + likeness) / 2, scores)


def draw_partners(known: Tensor) -> Tensor:
    """Draw for each picture and label a picture of the batch in which the label is known, each such picture alike.

    Args:
        known: Bool (B, C).

    Returns:
        Rows of pictures, int64 (B, C); any row for a label that is known nowhere.
    """
    order = (torch.rand(known.shape, device=known.device) + known).argsort(dim=0, descending=True)  # known ones first
    place = (torch.rand(known.shape, device=known.device) * known.sum(dim=0)).long()  # (B, C)
    return order.gather(0, place)


def _half_and_half(tokens: Tensor, partner: Tensor) -> Tensor:
    """Means of tokens (B, C, D) and those of the same label in a partner (B, C)."""
    return (tokens + tokens.gather(0, partner.unsqueeze(-1).expand_as(tokens))) / 2
