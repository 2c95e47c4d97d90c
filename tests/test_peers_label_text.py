"""The peer heads that read label text, against their formulas written out in loops."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageClassification

from sct_hf import (
    InputError,
    PeerConfig,
    PeerForMultiLabelClassification,
    asymmetric_loss,
    build_model,
    encode_labels,
)
from sct_hf.peers.registry import HEADS, holds_classes, make_head, reads_label_text
from tests.model.conformance import assert_same_after_loading

LABELS = ["dog", "cat", "bus"]
SMALL = {
    "bilinear_attention": {"hidden_size": 6, "output_size": 7},
    "clsl": {"hidden_size": 8, "attention_size": 5, "num_heads": 2, "ffn_dim": 7},
    "patchct": {"hidden_size": 6, "temperature": 0.3},
    "recover_match": {"hidden_size": 6, "num_classes": 7},
}
TEXT_HEADS = sorted(SMALL)


@pytest.fixture(params=TEXT_HEADS)
def model(request) -> PeerForMultiLabelClassification:
    return make_model(request.param)


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def make_model(head: str, **fields) -> PeerForMultiLabelClassification:
    torch.manual_seed(0)
    text = encode_labels(LABELS, "random:4")
    options = {"image_size": 64, "head": head, "head_kwargs": SMALL.get(head), "label_vectors": text} | fields
    if holds_classes(head):
        options |= {"label_prototypes": torch.rand(3, 7), "class_vectors": torch.randn(7, 256) / 16}
    return build_model("test_efficientnet", LABELS, **options).eval()


def inputs(name: str) -> tuple[torch.nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    head = make_head(name, 5, 3, 4, SMALL[name]).double().eval()
    return head, torch.randn(2, 5, 2, 3).double(), torch.randn(3, 4).double()


def test_heads_with_label_text() -> None:
    assert {name for name in HEADS if reads_label_text(name)} == set(TEXT_HEADS)
    assert not reads_label_text("sct")


def test_bilinear_attention_equals_its_formula() -> None:
    head, features, text = inputs("bilinear_attention")
    logits = head(features, text)
    for b in range(2):
        regions = [features[b, :, y, x] for y in range(2) for x in range(3)]
        for k in range(3):
            word = head.label_proj.weight @ text[k]
            scores = []
            for region in regions:
                fused = torch.tanh((head.region_proj.weight @ region) * word)
                scores.append((head.attention.weight[0] @ (head.joint_proj.weight @ fused)).exp())
            found = sum(score * region for score, region in zip(scores, regions, strict=True)) / sum(scores)
            output = torch.tanh(head.output_proj.weight @ found + head.output_proj.bias)
            expected = head.classifier.weight[k] @ output + head.classifier.bias[k]
            torch.testing.assert_close(logits[b, k], expected)


def test_patchct_classifies_the_mean_of_projected_regions_and_reads_no_text() -> None:
    head, features, text = inputs("patchct")
    regions = head.region_proj(features.flatten(2).transpose(1, 2))
    torch.testing.assert_close(head(features, text), head.classifier(regions.mean(1)))
    torch.testing.assert_close(head(features, 7 * text), head(features, text), rtol=0, atol=0)


def transport_cost(head: torch.nn.Module, features: Tensor, text: Tensor, weights: Tensor) -> float:
    """Both directions between the regions and the labels of weight above 0, mean over images; plain loops."""
    total = 0.0
    for b in range(len(features)):
        regions = [head.region_proj(features[b, :, y, x]) for y in range(2) for x in range(3)]
        labels = [(head.label_proj(text[k]), weights[b, k].item()) for k in range(len(text)) if weights[b, k] > 0]
        if not labels:
            continue
        whole = sum(weight for _, weight in labels)
        near = [[torch.cosine_similarity(r, label, 0).item() for label, _ in labels] for r in regions]
        pull = [[math.exp(value / head.temperature) for value in row] for row in near]
        for p, k in ((p, k) for p in range(6) for k in range(len(labels))):
            q = labels[k][1] / whole
            forward = labels[k][1] * pull[p][k] / sum(labels[j][1] * pull[p][j] for j in range(len(labels)))
            backward = pull[p][k] / sum(pull[o][k] for o in range(6))
            total += (0.5 * forward / 6 + 0.5 * q * backward) * (1 - near[p][k])
    return total / len(features)


@pytest.mark.parametrize("targets", [[[1, 0, 1], [0, 1, 0]], [[1, 0.5, 0], [0, 0, 0]], [[1, 1, 1], [0, 0, 0.2]]])
def test_transport_loss_equals_its_formula(targets: list[list[float]]) -> None:
    head, features, text = inputs("patchct")
    weights = torch.tensor(targets).double()
    loss = head.transport_loss(features, text, weights)
    assert loss.item() == pytest.approx(transport_cost(head, features, text, weights), abs=1e-12)


def test_loss_has_the_weighted_transport_cost(pixels: Tensor) -> None:
    model = make_model("patchct", transport_loss_weight=0.7)
    targets = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    features = model.backbone(pixels)
    out = model(backbone_features=features, labels=targets)
    text = model.label_embeddings
    text = text / text.square().mean(1, keepdim=True).sqrt()
    cost = model.head.transport_loss(features, text, targets)
    torch.testing.assert_close(out.losses["transport"], cost)
    assert torch.equal(out.losses["head"], asymmetric_loss(out.logits, targets))
    torch.testing.assert_close(out.loss, out.losses["head"] + 0.7 * cost)


def test_the_scale_of_label_text_is_taken_out(pixels: Tensor) -> None:
    model = make_model("bilinear_attention")
    features, text = model.backbone(pixels), model.label_embeddings
    unit = text / text.square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(model(backbone_features=features).logits, model.head(features, unit))
    assert not torch.allclose(model.head(features, unit), model.head(features, 20 * unit))


@pytest.mark.parametrize("unknown", [-1.0, math.nan])
def test_unknown_labels_take_no_part(unknown: float, pixels: Tensor) -> None:
    model = make_model("patchct")
    targets = torch.tensor([[1, unknown, 0], [unknown, unknown, 1]])
    out = model(pixels, labels=targets)
    absent = model(pixels, labels=torch.tensor([[1.0, 0, 0], [0, 0, 1]]))
    assert torch.equal(out.losses["transport"], absent.losses["transport"])
    model.label_embeddings[1] += 1  # the text of a label that nobody judged
    assert torch.equal(model(pixels, labels=targets).loss, out.loss)
    model.label_embeddings[2] += 1
    assert not torch.equal(model(pixels, labels=targets).loss, out.loss)


def test_gradients_reach_every_weight(model: PeerForMultiLabelClassification, pixels: Tensor) -> None:
    model.train()(pixels, labels=torch.tensor([[1.0, 0, 1], [0, 1, 0]])).loss.backward()
    for name, parameter in model.head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert not model.label_embeddings.requires_grad


def test_round_trip_with_label_text(model: PeerForMultiLabelClassification, pixels: Tensor, tmp_path: Path) -> None:
    text = encode_labels(LABELS, "random:4")
    assert torch.equal(model.label_embeddings, text.embeddings)
    model.save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert again.config.text_recipe == text.recipe
    assert_same_after_loading(model, again, pixels)


def test_a_checkpoint_without_its_label_text_is_refused(model, tmp_path: Path) -> None:
    weights = {name: value for name, value in model.state_dict().items() if name != "label_embeddings"}
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ValueError, match="lacks 1 tensors of the backbone or of the labels, first label_embeddings"):
        AutoModelForImageClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["csra", *TEXT_HEADS])
def test_half_precision_is_near_full_precision(name: str, dtype: torch.dtype) -> None:
    model = make_model(name)
    features, targets = torch.randn(2, model.backbone.num_features, 4, 4), torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    full = model(backbone_features=features, labels=targets)
    with torch.autocast("cpu", dtype):
        half = model(backbone_features=features, labels=targets)
    assert half.logits.dtype == half.loss.dtype == torch.float32
    torch.testing.assert_close(half.logits, full.logits, atol=0.05, rtol=0.05)
    torch.testing.assert_close(half.loss, full.loss, atol=0.02, rtol=0.02)


def test_heads_without_label_text_have_none(tmp_path: Path) -> None:
    linear = build_model("test_efficientnet", LABELS, image_size=64, head="linear")
    assert {name for name in linear.state_dict() if not name.startswith("backbone.")} == {
        "head.classifier.weight",
        "head.classifier.bias",
    }
    with pytest.raises(ValueError, match="head='linear' reads no label text"):
        linear.set_labels(LABELS, torch.zeros(3, 768))


def test_labels_are_renamed_with_their_text(model: PeerForMultiLabelClassification) -> None:
    model.set_labels(["car", "bird", "sofa"], torch.ones(3, 4, dtype=torch.float64), {"encoder": "mine"})
    assert model.config.label_names == ["car", "bird", "sofa"]
    assert model.config.label2id == {"car": 0, "bird": 1, "sofa": 2}
    assert torch.equal(model.label_embeddings, torch.ones(3, 4))
    for names, shape in ((["a", "b"], (2, 4)), (["a", "b", "b"], (3, 4)), (["a", "b", "c"], (3, 5))):
        with pytest.raises(ValueError, match="names, each once, and embeddings of shape"):
            model.set_labels(names, torch.zeros(shape))
    assert model.config.label_names == ["car", "bird", "sofa"]


def test_label_text_is_asked_for(model: PeerForMultiLabelClassification) -> None:
    with pytest.raises(InputError, match="label_vectors is missing"):
        build_model("test_efficientnet", LABELS, image_size=64, head=model.config.head)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label_embedding_size": 0}, "label_embedding_size=0"),
        ({"transport_loss_weight": -1.0}, "transport_loss_weight=-1"),
    ],
)
def test_configurations_that_cannot_be_used(fields: dict[str, float], message: str) -> None:
    with pytest.raises(Exception, match=message):
        PeerConfig(head="patchct", **fields)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"rho": 0.5}, {"hidden_size": 2.5}])
def test_arguments_that_patchct_cannot_use(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"head_kwargs=.* does not suit head='patchct'"):
        make_head("patchct", 5, 3, 4, options)
