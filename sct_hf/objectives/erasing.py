"""Object erasing: training on images without the regions of one of their labels, off by default."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from sct_hf.model.backbone_sct import capability, join_levels
from sct_hf.model.outputs_sct import as_map
from sct_hf.model.transport_sct import full_precision
from sct_hf.objectives.base import Context, Objective, Step, register_objective, take_step, total_loss
from sct_hf.options import CheckedOptions, option

_GROUP = "what is learnt from labels"


@dataclass
class ErasingOptions(CheckedOptions):
    """Options of training on images with erased regions."""

    erasing_loss_weight: float = option(
        0.0,
        "Weight of the loss on images with the regions of one label erased, for sct; 0 turns it off.",
        group=_GROUP,
        within=">= 0",
    )
    erasing_share: float = option(0.2, "Share of the regions to erase.", group=_GROUP, within="(0, 1)")


@register_objective("erasing")
class Erasing(Objective):
    """The loss "erasing": the losses of earlier parts, on backbone maps with erased regions.

    The head runs a second time, on maps from which `erase_regions` took regions by the backward plan, at the finer
    level too. Its batch norms use the statistics of this batch. Their running statistics come from whole images only.

    Args:
        weight: Weight of the loss.
        share: Share of the regions to erase, in (0, 1).
        earlier: The parts that score images with erased regions.
    """

    Options = ErasingOptions
    rank = 2

    def __init__(self, weight: float, share: float, earlier: Sequence[Objective]) -> None:
        super().__init__()
        self.weight, self.share = weight, share
        self._earlier = tuple(earlier)  # a tuple, so that they are no modules of this one

    @classmethod
    def from_options(cls, options: ErasingOptions, context: Context) -> Self | None:
        """Make the part if its weight is above 0 and the model has a plan of labels over regions."""
        if not options.erasing_loss_weight:
            return None
        if not capability(context.model, "gives_maps"):
            context.left_out("erasing_loss_weight")
            return None
        return cls(options.erasing_loss_weight, options.erasing_share, context.earlier)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """The loss "erasing"."""
        match = step.match
        features, plan = (as_map(each, match.grid) for each in (match.features, match.backward_plan))
        joined = join_levels(features, match.fine)
        rest, judged = erase_regions(joined, plan, step.labels, self.share)
        more = {name: value for name, value in step.inputs.items() if name != "pixel_values"}
        with statistics_kept(step.model):
            inputs = {**more, "backbone_features": rest}
            again = take_step(step.model, inputs, judged, step.focus, step.progress)
            return {"erasing": total_loss(self._earlier, again)[0]}

    def weights(self, progress: float) -> dict[str, float]:
        """The weight of the loss, constant over training."""
        return {"erasing": self.weight}


def erase_regions(features: Tensor, plan: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Erase from each image the regions with the most weight in the plan of one of its labels, drawn at random.

    After SRDL (Pu et al., arXiv 2204.03795), which erases semantic-aware regions so that training learns how labels
    depend on each other; only its abstract was available. This project chose what to erase: a fixed share of the
    regions, by the transport plan, set to zero in the backbone's map. All targets stay. The model must infer the
    erased label from what is left of it and from the rest of the image.

    Args:
        features (`Tensor` of shape (B, D₀ + 4·D_f, H, W)): The backbone's map.
        plan (`Tensor` of shape (B, C, H, W)): The backward plan π←, or any other attention of labels to regions.
        labels (`Tensor` of shape (B, C)): Targets; labels with a target of exactly 1 are drawn, equally likely.
        share (`float`): Share of the regions to erase, in (0, 1). At least one is erased and one is kept.

    Returns:
        `tuple[Tensor, Tensor]`: the map with the regions set to 0, and float32 targets. An image without a label to
        draw stays whole, and its targets become unknown (−1).
    """
    present = labels == 1  # (B, C)
    any_present = present.any(1, keepdim=True)  # (B, 1)
    drawn = torch.where(any_present, present, True).float().multinomial(1)  # (B, 1)
    attention = plan.flatten(2).take_along_dim(drawn.unsqueeze(2), dim=1).squeeze(1)  # (B, P)
    regions = attention.shape[1]
    count = min(max(round(share * regions), 1), regions - 1)
    erased = torch.zeros_like(attention, dtype=torch.bool).scatter(1, attention.topk(count, dim=1).indices, True)
    erased = (erased & any_present).unflatten(1, plan.shape[2:]).unsqueeze(1)  # (B, 1, H, W)
    return features.masked_fill(erased, 0), torch.where(any_present, full_precision(labels), -1)


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of `module`'s batch norms; batches are still normalised by their own."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    try:
        for norm in norms:
            norm.track_running_stats = norm.track_running_stats and not norm.training
        yield
    finally:
        for norm, value in zip(norms, tracked, strict=True):
            norm.track_running_stats = value
