"""torch.compile takes the models as one graph, losses included, and computes what they do."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sct_hf import SCTForMultiLabelClassification
from sct_hf.variants.known_labels import SCTWithKnownLabels
from sct_hf.variants.label_graph import SCTWithLabelGraph
from tests.model.tiny import tiny_config

VARIANTS = [
    {"backbone": "test_resnet"},
    {"backbone": "test_resnet", "scorer": "label", "kind": SCTWithKnownLabels},
    {"backbone": "test_vit", "kind": SCTWithLabelGraph},
]


STILL = {"dropout": 0.0, "scorer_dropout": 0.0, "aligned_dropout": 0.0}


def known(model: SCTForMultiLabelClassification, count: int) -> dict[str, Tensor]:
    """What is known of labels, to a model that would draw it otherwise."""
    rows = torch.tensor([[1.0, -1, -1], [-1, 0, -1], [-1, -1, -1]])
    return {"known": rows[:count]} if model.takes_known_labels else {}


def make(kind: type[Any] = SCTForMultiLabelClassification, **fields: object) -> SCTForMultiLabelClassification:
    torch.manual_seed(0)
    return kind(tiny_config(kind.config_class, **STILL, **fields)).train()


def gradients(model: SCTForMultiLabelClassification) -> dict[str, Tensor]:
    taken = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return taken


@pytest.fixture(autouse=True)
def _nothing_left_over() -> None:
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize("fields", VARIANTS, ids=["plain", "known labels", "label graph"])
@pytest.mark.parametrize("source", ["pixel_values", "backbone_features"])
def test_one_graph_from_input_to_gradients(fields: dict, source: str, targets: Tensor) -> None:
    """By dynamo and autograd's tracing, without a code generator; the batch size changes on the way."""
    model = make(**fields)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for rows in (slice(None), slice(2)):
        inputs: dict[str, Tensor] = {"pixel_values": torch.randn(3, 3, 64, 64)[rows]}
        if source == "backbone_features":
            inputs = {"backbone_features": model.backbone(inputs["pixel_values"]).detach()}
        inputs |= known(model, len(targets[rows]))
        expected = model(**inputs, labels=targets[rows])
        expected.loss.backward()
        expected_gradients = gradients(model)
        out = compiled(**inputs, labels=targets[rows])
        out.loss.backward()
        torch.testing.assert_close(out.logits, expected.logits, rtol=0, atol=1e-5)
        for name, value in expected.losses.items():
            torch.testing.assert_close(out.losses[name], value, rtol=0, atol=1e-5)
        for name, gradient in gradients(model).items():
            torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-5)


def test_head_is_one_graph(targets: Tensor) -> None:
    model = make(**VARIANTS[0])
    maps = torch.randn(3, model.backbone.num_features, 2, 2)
    explained = torch._dynamo.explain(model)(backbone_features=maps, labels=targets)
    assert (explained.graph_break_count, explained.graph_count) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("fields", VARIANTS, ids=["plain", "known labels", "label graph"])
def test_whole_model_is_one_graph(fields: dict, targets: Tensor) -> None:
    explained = torch._dynamo.explain(make(**fields))(torch.randn(3, 3, 64, 64), labels=targets)
    assert (explained.graph_break_count, explained.graph_count) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("fields", VARIANTS, ids=["plain", "known labels", "label graph"])
def test_generated_code_computes_the_same(fields: dict, targets: Tensor) -> None:
    model, pixels = make(**fields), torch.randn(3, 3, 64, 64)
    compiled = torch.compile(model, fullgraph=True)
    told = known(model, 3)
    expected = model(pixels, labels=targets, **told)
    expected.loss.backward()
    expected_gradients = gradients(model)
    out = compiled(pixels, labels=targets, **told)
    out.loss.backward()
    torch.testing.assert_close(out.logits, expected.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(out.loss, expected.loss, rtol=0, atol=1e-5)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-3, atol=1e-5)
