"""The peer heads: what they compute, and what they refuse."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification

from sct_hf import PeerConfig, PeerForMultiLabelClassification, asymmetric_loss
from sct_hf.peers import query2label
from sct_hf.peers.registry import HEADS
from tests.model.conformance import assert_same_after_loading


@pytest.fixture
def model() -> PeerForMultiLabelClassification:
    torch.manual_seed(0)
    config = PeerConfig(backbone="test_efficientnet", image_size=64, id2label=dict(enumerate("abc")))
    return PeerForMultiLabelClassification(config).eval()


@pytest.fixture
def make_head():
    def make(name: str, num_labels: int = 3, **options: Any) -> tuple[torch.nn.Module, torch.Tensor]:
        torch.manual_seed(0)
        return HEADS[name](5, num_labels, **options).eval(), torch.randn(2, 5, 2, 3)

    return make


def test_linear_is_a_classifier_on_the_mean_feature(model) -> None:
    features = torch.randn(2, model.backbone.num_features, 2, 3)
    weight, bias = model.head.classifier.weight, model.head.classifier.bias
    for b in range(2):
        mean = sum(features[b, :, y, x] for y in range(2) for x in range(3)) / 6
        torch.testing.assert_close(model(backbone_features=features).logits[b], weight @ mean + bias)


def test_the_map_of_a_linear_head_is_its_classifier_on_each_region(model) -> None:
    features = torch.randn(2, model.backbone.num_features, 2, 3)
    out = model(backbone_features=features, output_maps=True)
    weight, bias = model.head.classifier.weight, model.head.classifier.bias
    for b, y, x in itertools.product(range(2), range(2), range(3)):
        torch.testing.assert_close(out.region_scores[b, :, y, x], weight @ features[b, :, y, x] + bias)
    torch.testing.assert_close(out.region_scores.mean((2, 3)), out.logits)
    low, high = (getattr(out.region_scores, name)((2, 3), keepdim=True) for name in ("amin", "amax"))
    torch.testing.assert_close(out.heatmap, (out.region_scores - low) / (high - low))
    assert model(backbone_features=features).region_scores is None


def test_maps_of_a_head_without_regions_are_refused() -> None:
    config = PeerConfig(backbone="test_efficientnet", image_size=64, head="csra", id2label=dict(enumerate("abc")))
    with pytest.raises(ValueError, match="output_maps=True, but head='csra' scores no regions: leave it out"):
        PeerForMultiLabelClassification(config)(torch.randn(1, 3, 64, 64), output_maps=True)


def test_loss_is_the_asymmetric_one(model) -> None:
    pixels, targets = torch.randn(2, 3, 64, 64), torch.tensor([[1, 0, -1], [0.5, torch.nan, 1]])
    out = model(pixels, labels=targets)
    assert torch.equal(out.loss, asymmetric_loss(out.logits, targets))
    assert out.losses.keys() == {"head"}


def test_targets_and_inputs_are_checked(model) -> None:
    with pytest.raises(ValueError, match=r"labels have shape \(2, 4\)"):
        model(torch.randn(2, 3, 64, 64), labels=torch.zeros(2, 4))
    with pytest.raises(ValueError, match="either pixel_values or backbone_features"):
        model()


def test_csra_adds_attended_scores_to_the_mean(make_head) -> None:
    head, features = make_head("csra", residual_weight=0.3, temperature=2.0)
    logits = head(features)
    for b, k in itertools.product(range(2), range(3)):
        row = head.classifier.weight[k]
        scores = [(row / row.square().sum().sqrt()) @ features[b, :, y, x] for y in range(2) for x in range(3)]
        weights = [(2.0 * score).exp() for score in scores]
        attended = sum(w * score for w, score in zip(weights, scores, strict=True)) / sum(weights)
        torch.testing.assert_close(logits[b, k], sum(scores) / 6 + 0.3 * attended)


@pytest.mark.parametrize("num_labels", [3, 230])
def test_ml_decoder_scores_label_k_by_its_place_in_a_group(make_head, num_labels: int) -> None:
    head, features = make_head("ml_decoder", num_labels=num_labels, hidden_size=16)
    layer, logits = head.layer, head(features)
    assert logits.shape == (2, num_labels)
    groups = min(num_labels, 100)
    size = math.ceil(num_labels / groups)
    regions = layer.embed_standart(features.flatten(2).transpose(1, 2)).relu()
    block = layer.decoder.layers[0]
    for k in (0, num_labels // 2, num_labels - 1):
        query = block.norm1(2 * layer.query_embed.weight[k // size]).expand(2, 1, -1)
        found = block.multihead_attn(query.transpose(0, 1), *[regions.transpose(0, 1)] * 2)[0].transpose(0, 1)
        token = block.norm2(query + found)
        token = block.norm3(token + block.linear2(block.linear1(token).relu()))[:, 0]  # (B, D)
        expected = token @ layer.duplicate_pooling[k // size, :, k % size] + layer.duplicate_pooling_bias[k]
        torch.testing.assert_close(logits[:, k], expected)
    assert not layer.query_embed.weight.requires_grad


def test_query2label_equals_torchs_transformer_where_positions_are_zero(
    make_head, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_places(height: int, width: int, dim: int, device: torch.device) -> torch.Tensor:
        return torch.zeros(height * width, dim)

    monkeypatch.setattr(query2label, "sine_positions", no_places)
    head, features = make_head("query2label", hidden_size=16, ffn_dim=24, num_heads=2)
    head.queries.weight.data.zero_()
    encoder = torch.nn.TransformerEncoderLayer(16, 2, 24, batch_first=True).eval()
    copy(head.encoder, encoder.self_attn, encoder.norm1)
    copy_ffn(head.encoder_ffn, encoder, encoder.norm2)
    regions = encoder(head.region_proj(features.flatten(2).transpose(1, 2)))
    first, block = head.cross[0], head.ffn[0]
    labels = first.norm(first.attention(torch.zeros(2, 3, 16), regions, regions)[0])
    labels = block.norm(labels + block.layers(labels))
    decoder = torch.nn.TransformerDecoderLayer(16, 2, 24, batch_first=True).eval()
    copy(head.among_labels, decoder.self_attn, decoder.norm1)
    copy(head.cross[1], decoder.multihead_attn, decoder.norm2)
    copy_ffn(head.ffn[1], decoder, decoder.norm3)
    labels = head.norm(decoder(labels, regions))
    weight, bias = head.classifier.weight, head.classifier.bias
    expected = torch.stack([labels[:, k] @ weight[k] + bias[k] for k in range(3)], dim=1)
    torch.testing.assert_close(head(features), expected)


def test_query2label_labels_go_with_their_queries(make_head) -> None:
    head, features = make_head("query2label", hidden_size=16, ffn_dim=24, num_heads=2)
    logits, order = head(features), torch.tensor([2, 0, 1])
    for parameter in (head.queries.weight, head.classifier.weight, head.classifier.bias):
        parameter.data = parameter.data[order]
    torch.testing.assert_close(head(features), logits[:, order])
    mirrored = head(features.flip(3))
    assert not torch.allclose(mirrored, logits[:, order], atol=1e-4)  # positions count


def test_query2label_places_are_no_part_of_the_values(make_head, monkeypatch: pytest.MonkeyPatch) -> None:
    head, features = make_head("query2label", hidden_size=16, ffn_dim=24, num_heads=2)
    alone = features[:, :, :1, :1]  # attention to a single region is that region, wherever it lies
    logits = head(alone)
    monkeypatch.setattr(query2label, "sine_positions", lambda height, width, dim, device: torch.full((1, dim), 3.0))
    torch.testing.assert_close(head(alone), logits)


@pytest.mark.parametrize(
    ("head", "options"),
    [("linear", {"lam": 0.1}), ("ml_decoder", {"hidden_size": 12}), ("query2label", {"hidden_size": 6})],
)
def test_arguments_that_a_head_cannot_use(head: str, options: dict[str, Any]) -> None:
    config = PeerConfig(backbone="test_efficientnet", head=head, head_kwargs=options, id2label=dict(enumerate("abc")))
    with pytest.raises(ValueError, match=f"head_kwargs=.* does not suit head='{head}'"):
        PeerForMultiLabelClassification(config)


def test_queries_keep_their_unit_variance() -> None:
    torch.manual_seed(0)
    config = PeerConfig(
        backbone="test_efficientnet",
        head="query2label",
        head_kwargs={"hidden_size": 512},
        id2label=dict(enumerate("abc")),
    )
    queries = PeerForMultiLabelClassification(config).head.queries.weight
    assert queries.std().item() == pytest.approx(1, abs=0.1)


def copy(ours, attention, norm) -> None:
    attention.load_state_dict(ours.attention.state_dict())
    norm.load_state_dict(ours.norm.state_dict())


def copy_ffn(ours, layer, norm) -> None:
    layer.linear1.load_state_dict(ours.layers[0].state_dict())
    layer.linear2.load_state_dict(ours.layers[3].state_dict())
    norm.load_state_dict(ours.norm.state_dict())


@pytest.mark.parametrize("head", ["csra", "ml_decoder", "query2label"])
def test_every_head_learns_and_survives_a_round_trip(head: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"csra": {"residual_weight": 0.2}}.get(head, {"hidden_size": 16})
    config = PeerConfig(
        backbone="test_efficientnet", image_size=64, head=head, head_kwargs=options, id2label=dict(enumerate("abc"))
    )
    model = PeerForMultiLabelClassification(config)
    model(torch.randn(2, 3, 64, 64), labels=torch.tensor([[1.0, 0, 0], [0, 1, 1]])).loss.backward()
    for name, parameter in model.head.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
    model.eval().save_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 64, 64)
    assert_same_after_loading(model, AutoModelForImageClassification.from_pretrained(tmp_path), pixels)
