"""Configurations of FSDP, and the parts of a model that it gathers."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from sct_hf.errors import InputError
from sct_hf.training.sharding import repeated_blocks, scalars_apart, sharding_plugin


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What `accelerate launch` sets for FSDP2."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    return monkeypatch


def test_weights_stay_whole_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    assert sharding_plugin("no") is None


def test_every_process_reads_the_weights(asked: pytest.MonkeyPatch) -> None:
    plugin: Any = sharding_plugin("bf16")
    assert plugin.fsdp_version == 2
    assert plugin.cpu_ram_efficient_loading is False


@pytest.mark.parametrize(
    ("name", "value", "precision", "message"),
    [
        ("FSDP_VERSION", "1", "no", "fsdp_version is 1 in accelerate's configuration: give 2"),
        ("FSDP_OFFLOAD_PARAMS", "true", "no", "fsdp_offload_params is true in accelerate's configuration: give false"),
        ("FSDP_AUTO_WRAP_POLICY", "SIZE_BASED_WRAP", "no", "SIZE_BASED_WRAP in .*: give TRANSFORMER_BASED_WRAP"),
        ("FSDP_AUTO_WRAP_POLICY", "EVERYTHING", "no", "fsdp_config of .* cannot be used: .*EVERYTHING"),
        ("FSDP_VERSION", "2", "fp16", "mixed_precision is 'fp16', which cannot be used with FSDP: give bf16 or no"),
    ],
)
def test_what_does_not_fit_is_refused(
    asked: pytest.MonkeyPatch, name: str, value: str, precision: str, message: str
) -> None:
    asked.setenv(name, value)
    with pytest.raises(InputError, match=message):
        sharding_plugin(precision)


@pytest.mark.parametrize(
    ("backbone", "blocks"),
    [
        ("vit_tiny_patch16_224", ["Block"]),
        ("resnet50", ["Bottleneck"]),
        ("tf_efficientnet_lite0", ["InvertedResidual"]),
        ("convnext_atto", ["ConvNeXtBlock", "ConvNeXtStage"]),
        ("swin_tiny_patch4_window7_224", ["SwinTransformerBlock", "SwinTransformerStage"]),
    ],
)
def test_repeated_blocks_are_found(backbone: str, blocks: list[str]) -> None:
    with torch.device("meta"):
        assert repeated_blocks(timm.create_model(backbone)) == blocks


def test_single_numbers_have_groups_of_their_own() -> None:
    matrix, number = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(()))
    groups = [
        {"name": "head", "params": [matrix], "lr": 1.0},
        {"name": "head, no decay", "params": [number], "lr": 2.0},
    ]
    assert scalars_apart(groups) == [
        {"name": "head", "params": [matrix], "lr": 1.0},
        {"name": "head, no decay, single numbers", "params": [number], "lr": 2.0},
    ]
