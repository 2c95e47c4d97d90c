"""What the head costs beside ResNet-101 at 448 px with 80 labels; a multiply-add is 2 FLOP, the backbone 62.4 G."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sct_hf import SCTConfig, SCTForMultiLabelClassification
from sct_hf.peers.linear import LinearHead
from tests.model.tiny import tiny_config

# Hidden size, and the most GFLOP.
HEADS = {"faithful": (None, 20), "lean, 512": (512, 3), "lean, 256": (256, 3)}


class Stub(nn.Module):
    """In place of ResNet-101: nothing but the width of its map."""

    num_features = map_features = 2048
    fine_features = 0


@pytest.mark.parametrize("name", HEADS)
def test_head_keeps_to_its_budget(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    hidden_size, most = HEADS[name]
    monkeypatch.setattr("sct_hf.model.modeling_sct.TimmBackbone", lambda config: Stub())
    with torch.device("meta"):
        config = SCTConfig(hidden_size=hidden_size, id2label={k: str(k) for k in range(80)})
        model = SCTForMultiLabelClassification(config).eval()
        maps = torch.empty(1, 2048, 14, 14)
    assert (config.encoder_layers, config.encoder_ffn_dim, config.label_embedding_size) == (1, 2048, 768)
    with FlopCounterMode(display=False) as counter:
        model(backbone_features=maps)
    assert 0.4 < counter.get_total_flops() / 1e9 < most


def test_a_multiply_add_is_two_flop() -> None:
    with FlopCounterMode(display=False) as counter:
        torch.empty(3, 5, device="meta") @ torch.empty(5, 7, device="meta")
    assert counter.get_total_flops() == 2 * 3 * 5 * 7


def handed_back(maps: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of maps as a head hands it to the backbone, before it is added to anything."""
    seen: list[Tensor] = []
    maps = maps.requires_grad_() * 1
    maps.register_hook(seen.append)
    compute(maps).backward()
    return seen[0]


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_linear_head_hands_back_the_maps_memory_format(memory_format: torch.memory_format) -> None:
    head, maps = LinearHead(16, 3), torch.randn(2, 16, 3, 5).contiguous(memory_format=memory_format)
    gradient = handed_back(maps, lambda features: head(features).square().sum())
    assert gradient.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("hidden_size", [32, None])
def test_sct_hands_back_a_channels_last_gradient(hidden_size: int | None) -> None:
    """So that no convolution of the backbone has to convert it."""
    model = SCTForMultiLabelClassification(tiny_config(hidden_size=hidden_size, backbone="test_resnet"))
    maps = torch.randn(2, model.backbone.num_features, 3, 5).contiguous(memory_format=torch.channels_last)
    gradient = handed_back(maps, lambda features: model(backbone_features=features, labels=torch.eye(3)[:2]).loss)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
