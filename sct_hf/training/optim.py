"""Parameter groups, AdamW and the one-cycle schedule."""

import math
from typing import Any

from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from sct_hf.errors import InputError


def parameter_groups(
    model: Any, *, learning_rate: float, backbone_learning_rate: float | None, weight_decay: float
) -> list[dict[str, Any]]:
    """Group the trainable parameters by learning rate and weight decay.

    Biases, scalars and the weights of norms (all parameters with one dimension) have no decay. Neither have
    parameters that the backbone excludes, such as position codes.

    Args:
        model: A model on a backbone, or an objective with such a model.
        learning_rate: Learning rate of everything but the backbone.
        backbone_learning_rate: Learning rate of the backbone; `learning_rate` if None.
        weight_decay: Decay of the other weights.

    Returns:
        Up to six groups for an optimizer, each with a `name`; frozen parameters are in none. Single numbers, which are
        never sharded, are in groups of their own: an optimizer steps a whole group at once.

    Raises:
        InputError: There is no trainable parameter.
    """
    in_backbone = {id(parameter) for parameter in model.backbone.parameters()}
    timm_model: Any = model.backbone.timm_model
    listed = set(timm_model.no_weight_decay()) if hasattr(timm_model, "no_weight_decay") else set()
    exempt = {id(parameter) for name, parameter in timm_model.named_parameters() if name in listed}
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and not name.endswith(".bias") and id(parameter) not in exempt
        part = "backbone" if id(parameter) in in_backbone else "head"
        rate = learning_rate if part == "head" or backbone_learning_rate is None else backbone_learning_rate
        key = part if decays else f"{part}, single numbers" if parameter.ndim == 0 else f"{part}, no decay"
        group = {"name": key, "params": [], "lr": rate, "weight_decay": weight_decay if decays else 0.0}
        groups.setdefault(key, group)["params"].append(parameter)
    if not groups:
        raise InputError("the model has no trainable parameter: leave out freeze_backbone or choose another head")
    return list(groups.values())


def one_cycle(groups: list[dict[str, Any]], *, total_steps: int, pct_start: float) -> tuple[AdamW, OneCycleLR]:
    """Make AdamW (0.9, 0.999) and the one-cycle schedule, which is stepped after every optimizer step (CLSL).

    As in CLSL and by torch's default, β₁ moves between 0.85 and 0.95, opposite to the learning rate.

    Args:
        groups: Groups of `parameter_groups`; the `lr` of each is its peak.
        total_steps: Optimizer steps of the whole run.
        pct_start: Share of the steps with a rising learning rate.
    """
    if math.isclose(pct_start * total_steps, 1):  # torch divides by the steps of the rise but one
        pct_start *= 1.5
    optimizer = AdamW(groups, betas=(0.9, 0.999), fused=True)
    peaks = [group["lr"] for group in groups]
    return optimizer, OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps, pct_start=pct_start)
