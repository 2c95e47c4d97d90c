import math

import pytest
import torch
from torch import nn

from sct_hf import encode_labels
from sct_hf.errors import InputError
from sct_hf.factory import build_model
from sct_hf.training.optim import one_cycle, parameter_groups

RATES = {"learning_rate": 1e-2, "backbone_learning_rate": 1e-3, "weight_decay": 0.1}


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_groups(backbone: str) -> None:
    size = 160 if backbone == "test_vit" else 32
    model = build_model(backbone, ["a", "b"], image_size=size, head="linear")
    groups = {group["name"]: group for group in parameter_groups(model, **RATES)}
    place = {id(parameter): name for name, group in groups.items() for parameter in group["params"]}
    assert len(place) == len(list(model.parameters())) == sum(len(group["params"]) for group in groups.values())
    norms = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
    for name, module in model.named_modules():
        part = "backbone" if name.startswith("backbone.") else "head"
        for kind, parameter in module.named_parameters(recurse=False):
            exempt = isinstance(module, norms) or kind in ("bias", "pos_embed", "cls_token", "reg_token")
            assert place[id(parameter)] == (f"{part}, no decay" if exempt else part), (name, kind)
    for name, group in groups.items():
        assert group["weight_decay"] == (0 if name.endswith("no decay") else 0.1)
        assert group["lr"] == (1e-3 if name.startswith("backbone") else 1e-2)


def test_single_numbers_are_in_groups_of_their_own() -> None:
    text = encode_labels(["a", "b"], "random:8")
    model = build_model("test_resnet", ["a", "b"], image_size=32, label_vectors=text, hidden_size=16)
    groups = parameter_groups(model, **RATES)
    assert any(weight.ndim == 0 for weight in model.parameters())
    for group in groups:
        alone = group["name"].endswith("single numbers")
        assert {weight.ndim == 0 for weight in group["params"]} == {alone}
        assert group["weight_decay"] == 0 or not alone


def test_frozen_weights_are_in_no_group_and_one_rate_serves_both() -> None:
    model = build_model("test_resnet", ["a", "b"], image_size=32, head="linear")
    assert {group["lr"] for group in parameter_groups(model, **RATES | {"backbone_learning_rate": None})} == {1e-2}
    model.backbone.requires_grad_(False)
    groups = parameter_groups(model, **RATES)
    assert {id(weight) for group in groups for weight in group["params"]} == {id(w) for w in model.head.parameters()}
    model.requires_grad_(False)
    with pytest.raises(InputError, match="no trainable parameter"):
        parameter_groups(model, **RATES)


@pytest.mark.parametrize("steps", [10, 37])
def test_one_cycle_by_hand(steps: int) -> None:
    peaks, start = [0.3, 0.04], 0.2
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": peak} for peak in peaks]
    optimizer, schedule = one_cycle(groups, total_steps=steps, pct_start=start)
    summit = start * steps - 1  # the peak lies at this step, counted from 0, and the floor at the last one
    for step in range(steps):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            if step <= summit:
                low, high, way = peak / 25, peak, step / summit
            else:
                low, high, way = peak, peak / 25 / 1e4, (step - summit) / (steps - 1 - summit)
            assert group["lr"] == pytest.approx(high + (low - high) * (1 + math.cos(math.pi * way)) / 2, rel=1e-9)
            assert group["betas"][1] == 0.999
            assert 0.85 <= group["betas"][0] <= 0.95
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(("steps", "share"), [(5, 0.2), (10, 0.1), (2, 0.5), (1, 0.2)])
def test_a_rise_of_a_single_step_is_no_division_by_zero(steps: int, share: float) -> None:
    groups = [{"name": "head", "params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.1, "weight_decay": 0.0}]
    optimizer, schedule = one_cycle(groups, total_steps=steps, pct_start=share)
    for _ in range(steps - 1):
        optimizer.step()
        schedule.step()
    assert 0 <= schedule.get_last_lr()[0] <= 0.1
