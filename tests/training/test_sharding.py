"""Configurations of FSDP, and the parts of a model that it gathers."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from sct_hf.errors import InputError
from sct_hf.training.sharding import repeated_blocks, sharding_plugin


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
        (
            "FSDP_ACTIVATION_CHECKPOINTING",
            "true",
            "no",
            "fsdp_auto_wrap_policy is NO_WRAP: give TRANSFORMER_BASED_WRAP",
        ),
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
    "backbone", ["test_vit", "resnet18", "tf_efficientnet_lite0", "hrnet_w18_small", "edgenext_xx_small"]
)
def test_repeated_blocks_have_a_forward_of_their_own(backbone: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(backbone)
    names = repeated_blocks(model)
    assert names
    for name in names:
        blocks = [part for part in model.modules() if type(part).__name__ == name]
        assert len(blocks) > 1
        for block in blocks:
            assert type(block).forward is not nn.Module.forward
            assert not isinstance(block, nn.Sequential | nn.ModuleList)
            assert type(block) not in vars(nn).values()


def test_the_blocks_of_a_transformer_hold_most_of_its_weights() -> None:
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224")
    (name,) = repeated_blocks(model)
    held = sum(w.numel() for part in model.modules() if type(part).__name__ == name for w in part.parameters())
    assert held > 0.9 * sum(weight.numel() for weight in model.parameters())
