"""The CLSL head against its formulas, written out in loops over images, regions and labels in float64."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from sct_hf import asymmetric_loss, build_model, encode_labels
from sct_hf.peers.registry import make_head

SMALL = {"hidden_size": 8, "attention_size": 5, "num_heads": 2, "ffn_dim": 7}
LABELS = ["dog", "cat", "bus"]
B, H, W = 2, 2, 3


def head_and_inputs(**options) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    head = make_head("clsl", 12, 3, 4, SMALL | options).double()
    for norm in (head.encoder.attention_norm, head.encoder.ffn_norm, head.semantic_features.norm):
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias)
    text = torch.randn(3, 4).double()
    return head, torch.randn(B, 12, H, W).double(), text / text.square().mean(1, keepdim=True).sqrt()


def positions(dim: int) -> list[Tensor]:
    """DETR's sine code, channel by channel: half of them of y, half of x, counted from 1 and normalised to 2π."""
    codes = []
    for y, x in product(range(H), range(W)):
        code = []
        for place, length in ((y, H), (x, W)):
            for channel in range(dim // 2):
                angle = 2 * math.pi * (place + 1) / length / 10_000 ** (2 * (channel // 2) / (dim // 2))
                code.append(math.cos(angle) if channel % 2 else math.sin(angle))
        codes.append(torch.tensor(code).double())
    return codes


def layer_norm(values: Tensor, norm: nn.LayerNorm) -> Tensor:
    spread = ((values - values.mean()).square().mean() + norm.eps).sqrt()
    return (values - values.mean()) / spread * norm.weight + norm.bias


def softmax(values: list[Tensor]) -> list[Tensor]:
    powers = [value.exp() for value in values]
    return [power / sum(powers) for power in powers]


def encode(head: nn.Module, regions: list[Tensor]) -> list[Tensor]:
    """A post-norm encoder layer: attention head by attention head, positions on queries and keys alone."""
    layer = head.encoder
    dim, heads = len(regions[0]), layer.num_heads
    placed = [region + code for region, code in zip(regions, positions(dim), strict=True)]
    queries, keys = [layer.query(x) for x in placed], [layer.key(x) for x in placed]
    values = [layer.value(x) for x in regions]
    outputs = []
    for p, region in enumerate(regions):
        mixed = []
        for part in range(heads):
            cut = slice(part * dim // heads, (part + 1) * dim // heads)
            shares = softmax([queries[p][cut] @ key[cut] / math.sqrt(dim / heads) for key in keys])
            mixed.append(sum(share * value[cut] for share, value in zip(shares, values, strict=True)))
        token = layer_norm(region + layer.out(torch.cat(mixed)), layer.attention_norm)
        outputs.append(layer_norm(token + layer.ffn_out(layer.ffn_in(token).clamp(min=0)), layer.ffn_norm))
    return outputs


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def reference(head: nn.Module, features: Tensor, text: Tensor, *, training: bool) -> dict[str, Tensor]:
    """Logits of both branches; in training the batch norm is by the batch and its labels."""
    regions = [
        encode(head, [head.region_proj(features[b, :, y, x]) for y in range(H) for x in range(W)]) for b in (0, 1)
    ]
    fusion = head.semantic_features
    weight = torch.cat((fusion.text_proj.weight, fusion.image_proj.weight), 1)  # W₁ of [E ; x_g]
    fused = {
        (b, k): weight @ torch.cat((text[k], sum(regions[b]) / len(regions[b]))) + fusion.text_proj.bias
        for b in range(B)
        for k in range(3)
    }
    mean, variance = fusion.norm.running_mean, fusion.norm.running_var
    if training:
        mean = sum(fused.values()) / len(fused)
        variance = sum((value - mean).square() for value in fused.values()) / len(fused)
    label_features = {
        at: fusion.out(gelu((x - mean) / (variance + fusion.norm.eps).sqrt() * fusion.norm.weight + fusion.norm.bias))
        for at, x in fused.items()
    }
    found = {"region": torch.zeros(B, 3).double(), "map": torch.zeros(B, 3).double()}
    for b in range(B):
        scores = []
        for region in regions[b]:
            pairs = [
                head.attention.weight[0]
                @ head.attention_joint.weight
                @ torch.tanh(head.attention_regions(region) * head.attention_labels(label_features[b, k]))
                for k in range(3)
            ]
            aligned = sum(share * label_features[b, k] for k, share in enumerate(softmax(pairs)))
            weight = torch.cat((head.aligned_scorer.weight, head.region_scorer.weight), 1)  # W₃ of [aligned ; X]
            hidden = gelu(weight @ torch.cat((aligned, region)) + head.region_scorer.bias)
            scores.append(head.classifier(hidden))
        for k in range(3):
            column = [score[k] for score in scores]
            found["region"][b, k] = sum(w * s for w, s in zip(softmax(column), column, strict=True))
            found["map"][b, k] = max(head.semantic_map(region)[k] for region in regions[b])
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("hidden_size", [8, None])
def test_both_branches_equal_their_formulas(training: bool, hidden_size: int | None) -> None:
    head, features, text = head_and_inputs(hidden_size=hidden_size, dropout=0.0, scorer_dropout=0.0)
    head.train()
    head(torch.randn(4, 12, H, W).double(), text)  # moves the running statistics off 0 and 1
    with torch.no_grad():
        expected = reference(head, features, text, training=training)
        found = head.train(training)(features, text)
    assert list(found) == ["region", "map"]
    for name, logits in expected.items():
        torch.testing.assert_close(found[name], logits)


def model(**options):
    torch.manual_seed(0)
    text = encode_labels(LABELS, "random:4")
    fields = {"image_size": 64, "head": "clsl", "head_kwargs": SMALL | options, "label_vectors": text}
    return build_model("test_efficientnet", LABELS, **fields).eval()


def test_the_region_branch_scores_and_each_branch_has_its_loss() -> None:
    clsl, targets = model(map_loss_weight=0.3), torch.tensor([[1.0, -1, 0], [0, 1, 1]])
    features = torch.randn(2, clsl.backbone.num_features, H, W)
    out = clsl(backbone_features=features, labels=targets)
    text = clsl.label_embeddings / clsl.label_embeddings.square().mean(1, keepdim=True).sqrt()
    branches = clsl.head(features, text)
    torch.testing.assert_close(out.logits, branches["region"])
    losses = {name: asymmetric_loss(logits, targets) for name, logits in branches.items()}
    assert out.losses.keys() == losses.keys()
    torch.testing.assert_close(out.loss, losses["region"] + 0.3 * losses["map"])
    assert model().loss_weights["map"] == 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 6}, "the width of regions is 6: set hidden_size to a multiple of 4 and of num_heads=2"),
        ({"map_loss_weight": -1}, "map_loss_weight=-1 cannot be used"),
        ({"ffn_dim": 0}, "ffn_dim"),
    ],
)
def test_arguments_that_it_cannot_use(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=rf"(?s)head_kwargs=.* does not suit head='clsl': .*{message}"):
        make_head("clsl", 12, 3, 4, SMALL | options)
