"""Recovery of unknown labels by blending what other images and prototypes show of a label."""

from typing import Any, Self

import torch
from torch import Tensor

from sct_hf.errors import InputError
from sct_hf.model.losses_sct import asymmetric_loss
from sct_hf.objectives.base import Context, NoOptions, Step, register_objective
from sct_hf.objectives.recovery import Recovery, RecoveryOptions

_MOMENTUM = 0.95
_WEIGHT = 0.25


@register_objective("blending")
class Blending(Recovery):
    """Recovery and, beside it, training on blended representations of labels (after DSRB, Pu et al.).

    DSRB blends what an image shows of a label whose target is unknown with what another image, or a prototype of the
    label, shows of it, and trains on the blended target. Here the representation of a label in an image is what SCT
    scores by label pooling: its pooled features and its label feature. For each image and label, a partner is drawn:
    half of the time an image of the batch in which the label is known, else the prototype of the label, a running
    mean over the images in which it is known to be present. The representations are blended half and half, and the
    model's scorer of pooled features is trained on the same blend of the targets, with a quarter of the weight of the
    other losses on recovered labels. Clustered prototypes and learnt shares of the blends, as DSRB has them, are left
    out.

    Args:
        context: As of `Recovery`; its model scores pooled features.
        options: As of `Recovery`.
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
        """Make the part where it is asked for and labels are unknown.

        Raises:
            InputError: A model without representations to blend.
        """
        if cls.asked(context) and not hasattr(context.model, "pooled_scorer"):
            raise InputError("unknown_labels is 'blend': it needs --head sct; choose recover, say")
        return super().from_options(options, context)

    def loss(self, step: Step, known: Tensor, targets: Tensor) -> Tensor:
        """The losses on pseudo-targets, see `Recovery`, and on blended representations."""
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
        """Take in representations (B, C, D₀), (B, C, D) where `present` (B, C); plain means first, then a momentum."""
        count = present.sum(dim=0)  # (C,)
        self.seen += count > 0
        rate = (1 / self.seen.clamp(min=1)).clamp(min=1 - _MOMENTUM) * (count > 0)  # (C,)
        for store, each in ((self.feature_prototypes, features), (self.token_prototypes, tokens)):
            total = (present.unsqueeze(-1) * each.float()).sum(dim=0)  # (C, D); autocast would make a product bfloat16
            store.lerp_(total / count.clamp(min=1).unsqueeze(1), rate.unsqueeze(1))


def draw_partners(known: Tensor) -> Tensor:
    """Draw for each image and label an image of the batch in which the label is known, each such image alike.

    Args:
        known: Bool (B, C).

    Returns:
        Rows of images, int64 (B, C); any row for a label that is known nowhere.
    """
    order = (torch.rand(known.shape, device=known.device) + known).argsort(dim=0, descending=True)  # known ones first
    place = (torch.rand(known.shape, device=known.device) * known.sum(dim=0)).long()  # (B, C)
    return order.gather(0, place)


def _half_and_half(tokens: Tensor, partner: Tensor, prototypes: Tensor, from_prototype: Tensor) -> Tensor:
    """Means of tokens (B, C, D) and those of the same label in a partner (B, C), or its prototype (C, D)."""
    others = tokens.gather(0, partner.unsqueeze(-1).expand_as(tokens))  # (B, C, D)
    return (tokens + torch.where(from_prototype.unsqueeze(-1), prototypes, others)) / 2
