"""Recovery of unknown labels by blending label representations of images and prototypes."""

from typing import Any, Self

import torch
from torch import Tensor

from sct_hf.errors import InputError
from sct_hf.model.outputs_sct import asymmetric_loss
from sct_hf.objectives.base import Context, NoOptions, Step, register_objective
from sct_hf.objectives.recovery import Recovery, RecoveryOptions

_MOMENTUM = 0.95
_WEIGHT = 0.25


@register_objective("blending")
class Blending(Recovery):
    """Recovery, and training on blended representations of labels (after DSRB, Pu et al.).

    DSRB blends an image's representation of an unknown label with another image's, or with the label's prototype, and
    trains on the blended target. Here a label's representation in an image is what label pooling scores: the pooled
    features and the label feature. Each image and label draws a partner. Half of the time it is an image of the batch
    in which the label is known. Else it is the label's prototype, a running mean over images that show it. The
    representations are blended in equal parts, and so are the targets. The scorer of pooled features is trained on
    them with a quarter of the weight of the other losses on recovered labels. DSRB's clustered prototypes and learnt
    blending shares are left out.

    Args:
        context: As in `Recovery`; the model scores pooled features.
        options: As in `Recovery`.
    """

    Options = NoOptions
    treatment = "blend"
    feature_prototypes: Tensor
    token_prototypes: Tensor
    seen: Tensor

    def __init__(self, context: Context, options: RecoveryOptions) -> None:
        super().__init__(context, options)
        count, model = len(context.label_names), context.model
        self.register_buffer("feature_prototypes", torch.zeros(count, model.backbone.num_features))
        self.register_buffer("token_prototypes", torch.zeros(count, model.sct.hidden_size))
        self.register_buffer("seen", torch.zeros(count))  # batches in which a label was known to be present

    @classmethod
    def from_options(cls, options: Any, context: Context) -> Self | None:
        """Make the part if it is asked for and some labels are unknown.

        Raises:
            InputError: The model has no representations to blend.
        """
        if cls.asked(context) and not hasattr(context.model, "pooled_scorer"):
            raise InputError("unknown_labels is 'blend', which needs --head sct: give that, or choose recover")
        return super().from_options(options, context)

    def loss(self, step: Step, known: Tensor, targets: Tensor) -> Tensor:
        """The losses on pseudo-targets (see `Recovery`) and on blended representations."""
        features, tokens = step.match.pooled_features, step.match.label_features  # (B, C, D₀), (B, C, D)
        values = torch.where(known, targets, 0.0)
        self.update_prototypes(features.detach(), tokens.detach(), known & (values >= 0.5))

        partner = draw_partners(known)  # (B, C)
        from_prototype = (torch.rand_like(values) < 0.5) & (self.seen > 0)  # (B, C)
        blended = [
            _half_and_half(each, partner, prototypes.to(each.dtype), from_prototype)
            for each, prototypes in ((features, self.feature_prototypes), (tokens, self.token_prototypes))
        ]
        partner_targets = torch.where(from_prototype, 1.0, values.gather(0, partner))  # (B, C)
        usable = from_prototype | known.any(dim=0)  # (B, C)
        blended_targets = torch.where(usable, (targets + partner_targets) / 2, torch.nan)
        logits = step.model.pooled_scorer(*blended, step.vocabulary.centred)
        blended_loss = asymmetric_loss(logits, blended_targets, **step.focus)
        return super().loss(step, known, targets) + _WEIGHT * blended_loss

    @torch.no_grad()
    def update_prototypes(self, features: Tensor, tokens: Tensor, present: Tensor) -> None:
        """Average representations (B, C, D₀), (B, C, D) where `present` (B, C): a plain mean, later a moving one."""
        count = present.sum(dim=0)  # (C,)
        self.seen += count > 0
        rate = (1 / self.seen.clamp(min=1)).clamp(min=1 - _MOMENTUM) * (count > 0)  # (C,)
        for store, each in ((self.feature_prototypes, features), (self.token_prototypes, tokens)):
            total = (present.unsqueeze(-1) * each.float()).sum(dim=0)  # (C, D); autocast would make a product bfloat16
            store.lerp_(total / count.clamp(min=1).unsqueeze(1), rate.unsqueeze(1))


def draw_partners(known: Tensor) -> Tensor:
    """Draw for each image and label an image of the batch in which the label is known, all equally likely.

    Args:
        known: Bool (B, C).

    Returns:
        Rows of images, int64 (B, C). The row is arbitrary for a label that no image knows.
    """
    order = (torch.rand(known.shape, device=known.device) + known).argsort(dim=0, descending=True)  # known ones first
    place = (torch.rand(known.shape, device=known.device) * known.sum(dim=0)).long()  # (B, C)
    return order.gather(0, place)


def _half_and_half(tokens: Tensor, partner: Tensor, prototypes: Tensor, from_prototype: Tensor) -> Tensor:
    """Mean of each token (B, C, D) and its partner: the token of row (B, C), or the prototype (C, D)."""
    others = tokens.gather(0, partner.unsqueeze(-1).expand_as(tokens))  # (B, C, D)
    return (tokens + torch.where(from_prototype.unsqueeze(-1), prototypes, others)) / 2
