"""Peer heads that hold the backbone's own classifier: label prototypes and evidence as SCT has them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageClassification

from sct_hf import PeerForMultiLabelClassification
from sct_hf.errors import InputError
from sct_hf.factory import build_model
from sct_hf.peers.backbone_classes import BackboneClassesHead
from sct_hf.peers.registry import HEADS, head_names, holds_classes, make_head
from tests.model.conformance import assert_same_after_loading

LABELS = ["cat", "dog", "wheeled vehicle"]
CLASSES, WIDTH = 7, 96  # the width of test_resnet's map
BARE = {"linear_prototypes": "linear", "csra_prototypes": "csra"}
"""Heads with prototypes, and what they are without."""
TARGETS = torch.tensor([[1.0, 0, 1], [0, 1, 0]])


@pytest.fixture(params=sorted(BARE))
def head(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(head: str) -> PeerForMultiLabelClassification:
    torch.manual_seed(0)
    shares = torch.rand(len(LABELS), CLASSES)
    options: dict[str, Any] = {"label_prototypes": shares, "class_vectors": torch.randn(CLASSES, WIDTH)}
    found = build_model("test_resnet", LABELS, image_size=64, head=head, **options)
    assert isinstance(found, PeerForMultiLabelClassification)
    return found.eval()


def knowledge(head: torch.nn.Module, mean: Tensor, label: int) -> float:
    """Evidence of a label by scalar sums, on the mean feature of an image."""
    mass = [math.exp(float(mean @ vector)) for vector in head.class_vectors]
    shares = head.label_classes[label].tolist()
    seen = sum(share * one for share, one in zip(shares, mass, strict=True)) / sum(mass)
    chance = sum(shares) / len(shares)
    return math.log(seen / (1 - seen)) - 0.5 * math.log(chance / (1 - chance))


def prototype(head: torch.nn.Module, label: int) -> Tensor:
    mixed = sum(
        share * vector for share, vector in zip(head.label_classes[label], head.class_vectors.unbind(), strict=True)
    )
    length = sum(math.dist(vector.tolist(), [0.0] * len(vector)) for vector in head.class_vectors) / CLASSES
    return mixed / mixed.square().sum().sqrt() * length


def filled(name: str, **options: Any) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    head = make_head(name, 5, 3, 4, {"num_classes": CLASSES, **options}).double().eval()
    assert isinstance(head, BackboneClassesHead)
    head.set_classes(torch.randn(CLASSES, 5), torch.rand(3, CLASSES) * 0.3)
    return head, torch.randn(2, 5, 2, 3).double()


def test_linear_adds_prototypes_of_the_mean_feature_and_half_the_evidence() -> None:
    head, features = filled("linear_prototypes", prototype_scale=0.25)
    logits, maps = head(features), head.region_scores(features)
    for image, label in ((image, label) for image in range(2) for label in range(3)):
        regions = [features[image, :, y, x] for y in range(2) for x in range(3)]
        vector = head.classifier.weight[label] + 0.25 * prototype(head, label)
        scores = [vector @ region + head.classifier.bias[label] for region in regions]
        expected = sum(scores) / 6 + 0.5 * knowledge(head, sum(regions) / 6, label)
        torch.testing.assert_close(logits[image, label], expected)
        torch.testing.assert_close(maps[image, label].flatten(), torch.stack(scores))


def test_csra_attends_to_scores_with_prototypes() -> None:
    head, features = filled("csra_prototypes", residual_weight=0.3, temperature=2.0)
    logits = head(features)
    for image, label in ((image, label) for image in range(2) for label in range(3)):
        regions = [features[image, :, y, x] for y in range(2) for x in range(3)]
        row = head.classifier.weight[label]
        vector = row / row.square().sum().sqrt() + 0.5 * prototype(head, label)
        scores = [vector @ region for region in regions]
        pull = [(2 * score).exp() for score in scores]
        attended = sum(w * score for w, score in zip(pull, scores, strict=True)) / sum(pull)
        expected = sum(scores) / 6 + 0.3 * attended + 0.5 * knowledge(head, sum(regions) / 6, label)
        torch.testing.assert_close(logits[image, label], expected)


def test_without_classes_it_is_the_head_itself(head: str) -> None:
    """Shares of nothing say nothing: what is left is the same constant for every image."""
    full, features = filled(head, prototype_scale=0.0)
    bare = HEADS[BARE[head]](5, 3).double()
    bare.load_state_dict(bare.state_dict() | {n: v for n, v in full.state_dict().items() if n in bare.state_dict()})
    full.label_classes.zero_()
    torch.testing.assert_close(full(features), bare(features) + (full(features) - bare(features))[:1])
    assert not torch.allclose(filled(head)[0](features), full(features))


def test_heads_with_classes() -> None:
    assert {name for name in HEADS if holds_classes(name)} == {"zero_shot", "recover_match", *BARE}
    assert set(BARE) < set(head_names())
    assert not holds_classes("sct")


def test_it_learns_and_survives_a_round_trip(model: PeerForMultiLabelClassification, tmp_path: Path) -> None:
    model(torch.randn(2, 3, 64, 64), labels=TARGETS).loss.backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.head.parameters())
    assert {name for name, _ in model.head.named_buffers()} == {"class_vectors", "label_classes"}
    model.save_pretrained(tmp_path)
    assert_same_after_loading(
        model, AutoModelForImageClassification.from_pretrained(tmp_path), torch.randn(1, 3, 64, 64)
    )


def test_half_precision_is_near_full_precision(model: PeerForMultiLabelClassification) -> None:
    features = torch.randn(2, model.backbone.num_features, 4, 4)
    full = model(backbone_features=features, labels=TARGETS)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(backbone_features=features, labels=TARGETS)
    assert half.logits.dtype == torch.float32
    torch.testing.assert_close(half.logits, full.logits, atol=0.1, rtol=0.05)
    torch.testing.assert_close(half.loss, full.loss, atol=0.05, rtol=0.05)


def test_a_model_without_its_classes_is_refused(head: str) -> None:
    with pytest.raises(InputError, match=f"head='{head}' needs class_vectors and label_prototypes: give Backbone"):
        build_model("test_resnet", LABELS, image_size=64, head=head)
    for shares, vectors, message in (
        (torch.rand(2, 7), torch.rand(7, WIDTH), r"label_classes have shape \(2, 7\), but \(3, 7\) is needed"),
        (torch.rand(3, 7), torch.rand(7, 16), r"class_vectors have shape \(7, 16\), but \(7, 96\) is needed"),
    ):
        options: dict[str, Any] = {"label_prototypes": shares, "class_vectors": vectors}
        with pytest.raises(InputError, match=message):
            build_model("test_resnet", LABELS, image_size=64, head=head, **options)
    with pytest.raises(ValueError, match=r"does not suit head=.*prototype_scale=-1 cannot be used"):
        make_head(head, 5, 3, 4, {"prototype_scale": -1})
