"""Losses with settings of each label, from the configuration to the loss of the models."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from sct_hf import SCTConfig, SCTForMultiLabelClassification, asymmetric_loss
from sct_hf.model.hierarchy_sct import LabelHierarchy
from sct_hf.peers.modeling_peer import PeerConfig, PeerForMultiLabelClassification
from tests.model.tiny import LABELS, tiny_config

LOSSES = {
    "gamma_neg": [0.0, 1.0, 3.0],
    "gamma_pos": [0.5, 0.0, 1.0],
    "positive_weight": [1.0, 4.0, 0.5],
    "logit_shift": [-3.0, 0.0, 2.0],
}


def test_every_loss_of_sct_uses_them(
    make_model: Callable[..., SCTForMultiLabelClassification], targets: torch.Tensor
) -> None:
    model = make_model(label_losses=LOSSES, fuse_map_scores=False)
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        out = model(images, targets)
        base = model.sct(images)
        text = model.sct.label_embeddings
        regions = model.scorer(base.last_hidden_state, base.label_features, base.transport_plan.flatten(2).mT, text)
        logits = {
            "classification": (regions.softmax(1) * regions).sum(1),
            "semantic": base.map_logits,
            "pooled": model.pooled_scorer(base.pooled_features, base.label_features, text),
        }
    settings = {name: torch.tensor(values) for name, values in LOSSES.items()}
    for name, values in logits.items():
        torch.testing.assert_close(out.losses[name], asymmetric_loss(values, targets, **settings), rtol=1e-5, atol=0)
        assert out.losses[name] != asymmetric_loss(values, targets)


def test_scores_do_not_depend_on_them(make_model: Callable[..., SCTForMultiLabelClassification]) -> None:
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        scores = [make_model(label_losses=losses)(images).logits for losses in (None, LOSSES)]
    assert torch.equal(*scores)


@pytest.mark.parametrize("head", ["linear", "csra"])
def test_peer_heads_use_them(head: str) -> None:
    weights = {"positive_weight": [1.0, 4.0, 0.5]}
    config = PeerConfig(
        head=head,
        backbone="test_efficientnet",
        image_size=64,
        id2label=dict(enumerate(LABELS)),
        gamma_neg=0,
        label_losses=weights,
    )
    torch.manual_seed(0)
    model = PeerForMultiLabelClassification(config).eval()
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    out = model(torch.randn(2, 3, 64, 64), labels)
    expected = F.binary_cross_entropy_with_logits(
        out.logits, labels, pos_weight=torch.tensor(weights["positive_weight"])
    )
    torch.testing.assert_close(out.loss, expected)


def test_the_loss_of_a_hierarchy_uses_them() -> None:
    """A cat above a dog, both present: either has the dog's logit, 2, and its own weight."""
    hierarchy = LabelHierarchy({"dog": ["cat"]}, LABELS)
    weight = torch.tensor([3.0, 5.0, 7.0])
    loss = hierarchy.loss(
        torch.tensor([[2.0, -1.0, 0.0]]), torch.tensor([[1.0, 1, 0]]), gamma_neg=0, positive_weight=weight
    )
    assert loss.item() == pytest.approx(((3 + 5) * math.log1p(math.exp(-2)) + math.log(2)) / 3)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"weight": [1.0, 1.0, 1.0]}, "label_losses='weight' cannot be used: name gamma_neg, gamma_pos"),
        ({"positive_weight": [1.0, 1.0]}, "give one number for each of 3"),
        ({"gamma_neg": [1.0, -1.0, 1.0]}, "give finite numbers >= 0"),
        ({"logit_shift": [0.0, float("nan"), 0.0]}, "give finite numbers"),
        ({"positive_weight": [1.0, float("inf"), 1.0]}, "give finite numbers >= 0"),
    ],
)
def test_what_a_configuration_refuses(losses: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        tiny_config(label_losses=losses)


def test_they_go_where_other_labels_come(make_model: Callable[..., SCTForMultiLabelClassification]) -> None:
    model = make_model(label_losses=LOSSES, scorer="label")
    saved = model.config.to_dict()
    assert SCTConfig.from_dict(dict(saved)).label_losses == LOSSES
    assert SCTConfig.from_dict(dict(saved), num_labels=5).label_losses is None
    model.set_labels(["cow", "sheep"], torch.randn(2, 12))
    assert model.config.label_losses is None
    assert model(torch.randn(1, 3, 64, 64), torch.ones(1, 2)).loss.isfinite()
