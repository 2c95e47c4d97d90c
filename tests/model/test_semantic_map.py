"""The semantic map, label prototypes and what they weigh, against the formulas written out slowly in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageClassification

from sct_hf import SCTForMultiLabelClassification
from sct_hf.model.layers_sct import RegionScorer, aggregate
from tests.model.tiny import LABELS, tiny_config

TEMPERATURE = 0.05  # of the prototypes' plan
TEXT = torch.zeros(3, 12)  # of no use to linear scorers


@pytest.fixture
def make_grounded(make_model) -> Callable[..., SCTForMultiLabelClassification]:
    """Make a tiny model with random prototypes, in float64."""

    def make(**fields) -> SCTForMultiLabelClassification:
        model = make_model(label_prototypes=True, **fields).double()
        prototypes = torch.randn(3, model.backbone.num_features, dtype=torch.float64)
        model.set_labels(LABELS, model.sct.label_embeddings, prototypes=prototypes)
        return model

    return make


def as_regions(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)


def plan_by_hand(features: list[list[float]], prototype: list[float], tau: float) -> list[float]:
    """Of one image's P features and one label's prototype: softmax over regions of cosine / τ."""

    def dot(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    cosines = [dot(f, prototype) / math.sqrt(dot(f, f) * dot(prototype, prototype)) for f in features]
    weights = [math.exp(cosine / tau) for cosine in cosines]
    return [weight / sum(weights) for weight in weights]


def test_prototypes_by_hand(make_grounded) -> None:
    model = make_grounded(prototype_pooling=0.3)
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    out = model(pixels, output_maps=True)
    region_scores = as_regions(out.region_scores)
    features = as_regions(model.backbone(pixels)).tolist()
    layer, prototypes = model.sct.semantic_map.scores.proj, model.sct.label_prototypes.tolist()
    for b in range(2):
        for k in range(3):
            plan = plan_by_hand(features[b], prototypes[k], TEMPERATURE)
            assert out.prototype_plan[b, k].flatten().tolist() == pytest.approx(plan, abs=1e-12)
            vector = [w + 0.5 * v for w, v in zip(layer.weight[k].tolist(), prototypes[k], strict=True)]
            scores = [
                sum(x * w for x, w in zip(feature, vector, strict=True)) + layer.bias[k].item()
                for feature in features[b]
            ]
            assert out.semantic_map[b, k].flatten().tolist() == pytest.approx(scores, abs=1e-10)
            pooled = 0.7 * sum(scores) / len(scores) + 0.3 * sum(p * m for p, m in zip(plan, scores, strict=True))
            assert out.branch_logits["map"][b, k].item() == pytest.approx(pooled, abs=1e-10)
            regions = region_scores[b, :, k].tolist()
            total = sum(math.exp(r) for r in regions)
            logit = sum((0.7 * math.exp(r) / total + 0.3 * p) * r for r, p in zip(regions, plan, strict=True))
            assert out.branch_logits["region"][b, k].item() == pytest.approx(logit, abs=1e-10)
            of_features = out.branch_logits["pooled"][b, k].item()  # see test_label_pooling.py
            assert out.logits[b, k].item() == pytest.approx((logit + pooled + of_features) / 3, abs=1e-10)


def test_prototypes_beside_a_class_independent_scorer(make_grounded) -> None:
    model = make_grounded(scorer="label")
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    out, base = model(pixels, output_maps=True), model.sct(pixels)
    features, scores = as_regions(model.backbone(pixels)), model.sct.semantic_map.scores
    vectors = base.label_features @ scores.proj.weight.T + scores.proj.bias  # (B, C, D₀)
    expected = torch.einsum("bpd,bcd->bpc", features, vectors) / math.sqrt(features.shape[-1]) + scores.bias
    expected = expected + 0.5 * torch.einsum("bpd,cd->bpc", features, model.sct.label_prototypes)
    torch.testing.assert_close(as_regions(out.semantic_map), expected)

    names, width = [*LABELS, "bicycle"], model.backbone.num_features
    model.set_labels(names, torch.randn(4, 12), prototypes=torch.randn(4, width))
    assert model(pixels, output_maps=True).prototype_plan.shape == (2, 4, 2, 2)


def test_prototypes_of_zeros_add_nothing_to_the_map(make_grounded, make_model) -> None:
    grounded, plain = make_grounded(prototype_pooling=0), make_model().double()
    grounded.sct.label_prototypes.zero_()
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(grounded(pixels).logits, plain(pixels).logits)
    assert plain(pixels, output_maps=True).prototype_plan is None


def test_a_prototype_of_zeros_is_indifferent(make_grounded) -> None:
    model = make_grounded(prototype_pooling=1.0)
    model.sct.label_prototypes.zero_()
    out = model(torch.randn(2, 3, 64, 64, dtype=torch.float64), output_maps=True)
    torch.testing.assert_close(out.prototype_plan, torch.full_like(out.prototype_plan, 0.25))
    torch.testing.assert_close(out.branch_logits["map"], out.semantic_map.mean((2, 3)))


def test_the_plan_of_prototypes_sees_directions_only_in_full_precision(make_grounded) -> None:
    model = make_grounded().float()
    features = torch.randn(2, model.backbone.num_features, 3, 5)
    plan = model(backbone_features=features, output_maps=True).prototype_plan
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(backbone_features=features, output_maps=True).prototype_plan, plan)
    model.sct.label_prototypes *= 1000
    scaled = model(backbone_features=features * torch.rand(2, 1, 3, 5).add(0.1), output_maps=True).prototype_plan
    torch.testing.assert_close(scaled, plan)
    low = model.bfloat16()(backbone_features=features.bfloat16(), output_maps=True)
    assert low.prototype_plan.dtype == low.logits.dtype == torch.float32
    torch.testing.assert_close(low.prototype_plan.sum((2, 3)), torch.ones(2, 3))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_aggregation_with_a_share_of_a_plan(share: float) -> None:
    scores, plan = torch.randn(2, 4, 3, dtype=torch.float64), torch.rand(2, 4, 3, dtype=torch.float64).softmax(1)
    for b in range(2):
        for k in range(3):
            values, planned = scores[b, :, k].tolist(), plan[b, :, k].tolist()
            total = sum(math.exp(v) for v in values)
            weights = [(1 - share) * math.exp(v) / total + share * p for v, p in zip(values, planned, strict=True)]
            expected = sum(w * v for w, v in zip(weights, values, strict=True))
            assert aggregate(scores, plan, share)[b, k].item() == pytest.approx(expected, abs=1e-12)
    constant = torch.full((2, 4, 3), 1.5, dtype=torch.float64)
    torch.testing.assert_close(aggregate(constant, plan, share), constant[:, 0])


def test_aligned_features_are_left_out_of_whole_images_in_training_only() -> None:
    torch.manual_seed(0)
    layer = RegionScorer(32, tiny_config(aligned_dropout=0.3, scorer_dropout=0.0))
    count = 2000
    regions, labels = torch.randn(count, 6, 32), torch.randn(count, 3, 32)
    plan = torch.rand(count, 6, 3).softmax(-1)
    whole, without = layer.eval()(regions, labels, plan, TEXT), layer(regions, labels, torch.zeros_like(plan), TEXT)
    trained = layer.train()(regions, labels, plan, TEXT)
    is_whole, is_without = ((trained - other).abs().amax((1, 2)) < 1e-5 for other in (whole, without))
    assert bool((is_whole ^ is_without).all())
    spread = math.sqrt(0.3 * 0.7 / count)
    assert is_without.double().mean().item() == pytest.approx(0.3, abs=5 * spread)
    layer.aligned_dropout = 0.0
    torch.testing.assert_close(layer(regions, labels, plan, TEXT), whole)


@pytest.mark.parametrize(
    ("has", "shape", "message"),
    [
        (True, None, r"prototypes have shape None, but \(3, 256\) is needed: label_prototypes=True"),
        (True, (2, 256), r"prototypes have shape \(2, 256\), but \(3, 256\)"),
        (True, (3, 255), r"prototypes have shape \(3, 255\), but \(3, 256\)"),
        (False, (3, 256), r"prototypes have shape \(3, 256\), but none is needed: label_prototypes=False"),
    ],
)
def test_set_labels_refuses_prototypes_and_changes_nothing(make_model, has: bool, shape, message: str) -> None:
    model = make_model(label_prototypes=has)
    before = model.config.to_dict(), {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        model.set_labels(["a", "b", "c"], torch.zeros(3, 12), None, None if shape is None else torch.zeros(shape))
    assert model.config.to_dict() == before[0]
    assert all(torch.equal(value, before[1][key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_set_labels_takes_a_copy(make_model, dtype: torch.dtype) -> None:
    model = make_model(label_prototypes=True)
    given = torch.ones(3, 256, dtype=dtype)
    model.set_labels(LABELS, torch.zeros(3, 12), prototypes=given)
    given.zero_()
    assert torch.equal(model.sct.label_prototypes, torch.ones(3, 256))


@pytest.mark.parametrize("has", [True, False])
def test_round_trip(make_model, tmp_path, has: bool) -> None:
    model = make_model(label_prototypes=has)
    if has:
        model.set_labels(LABELS, model.sct.label_embeddings, prototypes=torch.randn(3, 256))
    model.save_pretrained(tmp_path)
    loaded, found = AutoModelForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    assert loaded.config.label_prototypes == has
    assert ("sct.label_prototypes" in loaded.state_dict()) == has
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(loaded(pixels).logits, model(pixels).logits)


def test_a_checkpoint_without_its_prototypes_is_refused(make_model, tmp_path) -> None:
    make_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks 1 tensors .* of the labels, first sct\.label_prototypes"):
        SCTForMultiLabelClassification.from_pretrained(tmp_path, label_prototypes=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prototype_temperature": 0.1}, "prototype_temperature=0.1"),
        ({"prototype_pooling": 1.5}, "prototype_pooling=1.5"),
        ({"prototype_scale": -1.0}, "prototype_scale=-1.0"),
        ({"aligned_dropout": 1.0}, "aligned_dropout=1.0"),
    ],
)
def test_configuration_is_checked(fields, message: str) -> None:
    with pytest.raises(Exception, match=message):  # strict dataclasses wrap the ValueError
        tiny_config(**fields)
