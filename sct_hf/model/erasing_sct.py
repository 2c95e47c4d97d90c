"""Object erasing: images without the regions that one of their labels is seen by, to train on; off by default."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .transport_sct import full_precision


def erase_regions(features: Tensor, plan: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Erase from each image the regions that a plan attends to most for one of its labels, drawn at random.

    After SRDL (Pu et al., arXiv 2204.03795), which erases semantic-aware regions so that training learns how labels
    depend on each other; only its abstract was at hand. What is erased is ours: a fixed share of the regions, set to
    zero in the backbone's map, by the transport plan. All labels stay, that of the erased regions too: it is to be
    told from what is left of it and from the rest of the image.

    Args:
        features (`Tensor` of shape (B, D₀, H, W)): The backbone's map.
        plan (`Tensor` of shape (B, C, H, W)): The backward plan π←, or any other attention of labels to regions.
        labels (`Tensor` of shape (B, C)): Targets; a label with a target of exactly 1 may be drawn, each as likely.
        share (`float`): Share of the regions to erase, within (0, 1); at least one, and one is left.

    Returns:
        `tuple[Tensor, Tensor]`: the map with the regions set to 0, and float32 targets, unknown (−1) in images
        without a label to draw, from which nothing is erased.
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
    """Leave the running statistics of `module`'s batch norms as they are; batches are still normed by their own."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    try:
        for norm in norms:
            norm.track_running_stats = norm.track_running_stats and not norm.training
        yield
    finally:
        for norm, value in zip(norms, tracked, strict=True):
            norm.track_running_stats = value


__all__ = ["erase_regions", "statistics_kept"]
