from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sct_hf.benchmark.cost import count_flop, model_cost
from sct_hf.errors import InputError
from sct_hf.factory import build_model
from sct_hf.label_text import encode_labels
from sct_hf.peers.registry import HEADS, holds_classes

B, N, M, D = 2, 3, 5, 8
LABELS = ["cat", "dog", "bird"]


def attention(tokens: int, memory: int, dim: int) -> int:
    """Query, key, value and output layers, and the two products of attention; two operations a multiply-add."""
    layers = 2 * dim * dim * (2 * tokens + 2 * memory)
    return layers + 2 * 2 * tokens * memory * dim


def encoder_layer() -> Callable[[], Any]:
    layer = nn.TransformerEncoderLayer(D, 2, 16, batch_first=True).eval()
    return lambda: layer(torch.ones(B, N, D))


def multihead_attention() -> Callable[[], Any]:
    layer = nn.MultiheadAttention(D, 2, batch_first=True).eval()
    return lambda: layer(torch.ones(B, N, D), torch.ones(B, M, D), torch.ones(B, M, D), need_weights=False)


def self_attention() -> Callable[[], Any]:
    layer = nn.MultiheadAttention(D, 2, batch_first=True).eval()
    tokens = torch.ones(B, N, D)
    return lambda: layer(tokens, tokens, tokens, need_weights=False)


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda: torch.ones(B, N, D) @ torch.ones(B, D, M), 2 * B * N * M * D),
        (lambda: torch.einsum("bnd,bmd->bnm", torch.ones(B, N, D), torch.ones(B, M, D)), 2 * B * N * M * D),
        (lambda: F.linear(torch.ones(B, N, D), torch.ones(M, D), torch.ones(M)), 2 * B * N * M * D),
        (lambda: torch.ones(N, D) @ torch.ones(D), 2 * N * D),
        (lambda: F.linear(torch.ones(D), torch.ones(M, D), torch.ones(M)), 2 * D * M),
        (lambda: torch.ones(D) @ torch.ones(D), 2 * D),
        (lambda: torch.baddbmm(torch.ones(1), torch.ones(B, N, D), torch.ones(B, D, M)), 2 * B * N * M * D),
        (lambda: F.conv2d(torch.ones(B, 4, 6, 6), torch.ones(M, 4, 3, 3)), 2 * B * M * 4 * 4 * 4 * 9),
        (
            lambda: F.scaled_dot_product_attention(torch.ones(B, 2, N, D), *[torch.ones(B, 2, M, D)] * 2),
            2 * 2 * B * 2 * N * M * D,
        ),
        (multihead_attention(), B * attention(N, M, D)),
        (self_attention(), B * attention(N, N, D)),
        (encoder_layer(), B * (attention(N, N, D) + 2 * 2 * N * D * 16)),
    ],
)
def test_operations_against_counts_by_hand(forward: Callable[[], Any], expected: int) -> None:
    assert count_flop(forward) == expected


def test_what_cannot_be_counted_is_named() -> None:
    layer = nn.Bilinear(4, 4, 2)
    with pytest.raises(InputError, match="_trilinear"):
        count_flop(lambda: layer(torch.ones(3, 4), torch.ones(3, 4)))
    assert torch.backends.mha.get_fastpath_enabled()


def test_linear_head() -> None:
    model = build_model("test_resnet", LABELS, image_size=64, head="linear")
    width = model.backbone.num_features
    cost = model_cost(model)
    assert model.training
    assert cost.head_parameters == 3 * width + 3
    assert cost.parameters == sum(weight.numel() for weight in model.parameters())
    assert cost.head_gflop == pytest.approx(2 * 3 * width / 1e9)
    assert cost.gflop > 100 * cost.head_gflop


def test_sct_head() -> None:
    text = encode_labels(LABELS, "random:12")
    sizes: dict[str, Any] = {"hidden_size": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 24}
    sizes |= {"encoder_layers": 1, "label_interaction": False, "scorer": "linear"}
    model = build_model("test_resnet", LABELS, image_size=64, head="sct", label_vectors=text, **sizes)
    model.eval()
    grid = model.backbone(torch.zeros(1, 3, 64, 64)).shape[-2:]
    regions, width, dim, labels, text_dim = int(grid.numel()), model.backbone.num_features, 16, 3, 12
    fused = text_dim + dim
    products = [
        regions * width * dim,  # projection of the regions
        (attention(regions, regions, dim) + 2 * 2 * regions * dim * 24) // 2,  # encoder layer
        labels * text_dim * fused + dim * fused + labels * fused * dim,  # label features
        regions * width * labels,  # semantic map, of the backbone's features
        regions * dim * labels,  # similarity of regions and labels
        labels * dim * 2 * dim + regions * labels * 2 * dim,  # transported label features
        regions * dim * 2 * dim + regions * 2 * dim * labels,  # region scores
        labels * regions * width + labels * (width + dim) * 2 * dim,  # features pooled for each label
        labels * 2 * dim,  # their scores
    ]
    assert model_cost(model).head_gflop == pytest.approx(2 * sum(products) / 1e9)


@pytest.mark.parametrize("head", list(HEADS))
def test_every_peer_can_be_counted(head: str) -> None:
    text = encode_labels(LABELS, "random:12")
    classes = (
        {"label_prototypes": torch.rand(3, 5), "class_vectors": torch.randn(5, 96)} if holds_classes(head) else {}
    )
    cost = model_cost(build_model("test_resnet", LABELS, image_size=64, head=head, label_vectors=text, **classes))
    assert 0 < cost.head_gflop < cost.gflop


def test_resnet101_has_the_known_count() -> None:
    """7.8 GMACs at 224 px (timm, torchvision), so 4 · 2 · 7.8 GFLOP at 448 px."""
    model = build_model("resnet101", LABELS, image_size=448, head="linear")
    assert model_cost(model).gflop == pytest.approx(62.4, rel=0.01)
