"""Labels that are known beforehand, at inference or by a draw in training: states of label features; off by default.

After C-Tran (Lanchantin et al., "General Multi-label Image Classification with Transformers", CVPR 2021).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .transport_sct import full_precision

KNOWN_LOGIT = 50.0
"""Logit of a label known to be present, and its negative that of one known to be absent: finite in float16."""


class LabelStates(nn.Module):
    """Adds a learnt state embedding to the features of labels known to be absent or present (C-Tran).

    Unknown labels keep their features, that is, their state is the zero vector, as in C-Tran's code. Where the
    features go from there, through attention between labels, is ours.

    Args:
        dim: Width D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(2, dim))  # absent, present

    def forward(self, label_features: Tensor, known_labels: Tensor) -> Tensor:
        """Mark label features (B, C, D) by known labels (B, C): 1 present, 0 absent, −1 or NaN unknown."""
        states = torch.stack((known_labels == 0, known_labels == 1), dim=-1).to(self.embeddings.dtype)  # (B, C, 2)
        return label_features + states @ self.embeddings


def draw_known_labels(labels: Tensor, share_max: float) -> Tensor:
    """Draw which targets are known to the model in a training step (C-Tran's label mask training).

    For each image a number of known labels is drawn, each from none to `share_max` of its n usable targets as
    likely, and then as many of those, each as likely. C-Tran leaves at least a quarter unknown. Torch's generator
    decides.

    Args:
        labels (`Tensor` of shape (B, C)): Targets; those of exactly 0 or 1 may be drawn (ours: others may be there).
        share_max (`float`): Largest share, in (0, 1]; ⌊share_max · n⌋ targets at most.

    Returns:
        `Tensor` of shape (B, C), float32: 1 and 0 where drawn, −1 elsewhere.
    """
    usable = (labels == 0) | (labels == 1)  # (B, C)
    most = (usable.sum(1) * share_max + 1e-4).floor()  # (B,); 1e-4: 0.7 · 10 is 7
    count = (torch.rand(len(labels), device=labels.device) * (most + 1)).floor()  # (B,)
    order = torch.rand(labels.shape, device=labels.device).masked_fill(~usable, 2.0)  # (B, C)
    drawn = order.argsort(1).argsort(1) < count.unsqueeze(1)  # (B, C)
    return torch.where(drawn, labels, -1).float()


def without_known(labels: Tensor, known_labels: Tensor) -> Tensor:
    """Targets (B, C) with NaN, unknown, where the label is known to the model: there is nothing to learn there."""
    return full_precision(labels).masked_fill(known_labels >= 0, torch.nan)


def known_logits(logits: Tensor, known_labels: Tensor) -> Tensor:
    """Logits (B, C) that agree with what is known: ±`KNOWN_LOGIT` there (ours)."""
    said = KNOWN_LOGIT * (2 * known_labels.to(logits.dtype) - 1)
    return torch.where(known_labels >= 0, said, logits)


def check_known_labels(known_labels: Tensor, shape: tuple[int, ...], label_states: bool) -> None:
    """Check what is known of labels.

    Args:
        known_labels: As given.
        shape: (B, C), as needed.
        label_states: Whether the model has states.

    Raises:
        ValueError: A model without states, a wrong shape, or (looked at on the CPU only, where that stalls nothing) a
            value that is not 1, 0, −1 or NaN.
    """
    if not label_states:
        raise ValueError(
            "known_labels are of no use to this model, whose labels have no states: leave them out, or use a "
            "checkpoint trained with label_states=True."
        )
    if tuple(known_labels.shape) != tuple(shape):
        raise ValueError(
            f"known_labels have shape {tuple(known_labels.shape)}, but {tuple(shape)} is needed: one value an image "
            "and label, 1 present, 0 absent, −1 or NaN unknown."
        )
    if known_labels.device.type == "cpu" and not torch.compiler.is_compiling():
        fine = (known_labels == 0) | (known_labels == 1) | (known_labels == -1) | known_labels.isnan()
        if not fine.all():
            raise ValueError(
                f"known_labels contain {known_labels[~fine][0].item()}: give 1 for present, 0 for absent, −1 or NaN "
                "for unknown."
            )


def known_by_name(known_labels: Any, names: Sequence[str], config: Any) -> Tensor | None:
    """What is known of labels by name, as one row.

    Args:
        known_labels: {label: whether it is present}.
        names: The C labels.
        config: Of the model.

    Returns:
        `Tensor` of shape (C,), float32: 1 present, 0 absent, −1 unknown; None where nothing is known.

    Raises:
        ValueError: No dict, a model without states, no such label, or a value other than True and False.
    """
    if not isinstance(known_labels, Mapping):
        raise ValueError(f"known_labels is {known_labels!r}: give a dict of True or False by label.")
    if not known_labels:
        return None
    row = torch.full((len(names),), -1.0)
    check_known_labels(row, (len(names),), getattr(config, "label_states", False))
    for name, present in known_labels.items():
        if name not in names:
            some = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            raise ValueError(f"known_labels: no label is called {name!r}; the labels are {some}.")
        if not isinstance(present, bool):
            raise ValueError(f"known_labels[{name!r}] is {present!r}: give True for present or False for absent.")
        row[names.index(name)] = float(present)
    return row


__all__ = [
    "KNOWN_LOGIT",
    "LabelStates",
    "check_known_labels",
    "draw_known_labels",
    "known_by_name",
    "known_logits",
    "without_known",
]
