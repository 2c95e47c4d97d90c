"""Scores of what the backward plans bring to labels, against the formula written out slowly in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from sct_hf.model.losses_sct import asymmetric_loss
from tests.model.tiny import LABELS


@pytest.mark.parametrize("scorer", ["linear", "label"])
@pytest.mark.parametrize("prototypes", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_by_hand(make_model, scorer: str, prototypes: bool, fused: bool) -> None:
    fields = {"scorer": scorer, "label_prototypes": prototypes, "prototype_pooling": 0.3, "fuse_map_scores": fused}
    model = make_model(**fields).double()
    if prototypes:
        drawn = torch.randn(3, model.backbone.num_features, dtype=torch.float64)
        model.set_labels(LABELS, model.sct.label_embeddings, prototypes=drawn)
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    targets = torch.tensor([[1, 0, 0], [0, 1, 1]], dtype=torch.float64)
    out = model(pixels, targets, output_maps=True, output_label_features=True)
    base, layer = model.sct(pixels), model.pooled_scorer
    features = model.backbone(pixels).flatten(2)  # (B, D₀, P)
    text = model.sct.label_embeddings - model.sct.label_embeddings.mean(0)
    text = text / text.pow(2).mean(1, keepdim=True).sqrt()
    logits = torch.zeros(2, 3, dtype=torch.float64)
    for b in range(2):
        for k in range(3):
            plan = out.backward_plan[b, k].flatten().tolist()
            if prototypes:
                other = out.prototype_plan[b, k].flatten().tolist()
                plan = [0.7 * one + 0.3 * two for one, two in zip(plan, other, strict=True)]
            brought = sum(features[b, :, p] * share for p, share in enumerate(plan))
            torch.testing.assert_close(base.pooled_features[b, k], brought, rtol=0, atol=1e-12)
            about = out.label_features[b, k]
            hidden = layer.pooled_proj.weight @ brought + layer.pooled_proj.bias + layer.label_proj.weight @ about
            scores = layer.scores
            if scorer == "linear":
                logits[b, k] = scores.proj.weight[k] @ F.gelu(hidden) + scores.proj.bias[k]
            else:
                vector = scores.proj.weight @ text[k] + scores.proj.bias
                logits[b, k] = vector @ F.gelu(hidden) / math.sqrt(len(hidden) * len(text[k])) + scores.bias
    alone = make_model(**fields, label_pooling=False).double()
    alone.load_state_dict({name: value for name, value in model.state_dict().items() if name in alone.state_dict()})
    before = alone(pixels, targets)
    kinds = 2 if fused else 1
    torch.testing.assert_close(out.logits, (kinds * before.logits + logits) / (kinds + 1), rtol=0, atol=1e-10)

    p = logits.sigmoid()
    loss = -(targets * p.log() + (1 - targets) * (1 - p).log() * p**2).mean()  # ASL with γ₋ = 2
    torch.testing.assert_close(out.losses["pooled"], loss, rtol=0, atol=1e-10)
    torch.testing.assert_close(out.loss, before.loss + loss, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("fused", "pooled"), [(True, True), (False, True), (True, False)])
def test_branches_have_the_losses_and_make_up_the_logits(make_model, targets, fused: bool, pooled: bool) -> None:
    model = make_model(fuse_map_scores=fused, label_pooling=pooled)
    pixels = torch.randn(3, 3, 64, 64)
    out = model(pixels, targets, output_branches=True)
    branches = out.branch_logits
    assert list(branches) == ["region", "map", "pooled"][: 3 if pooled else 2]
    mean = [logits for name, logits in branches.items() if fused or name != "map"]
    torch.testing.assert_close(out.logits, torch.stack(mean).mean(dim=0))
    for name, part in (("region", "classification"), ("map", "semantic"), ("pooled", "pooled")):
        if name in branches:
            torch.testing.assert_close(asymmetric_loss(branches[name], targets), out.losses[part])
    if pooled:
        label_features = model(pixels, output_label_features=True).label_features
        logits = model.pooled_scorer(out.pooled_features, label_features, model.sct.label_embeddings)
        torch.testing.assert_close(logits, branches["pooled"])
    else:
        assert out.pooled_features is None
    assert model(pixels).branch_logits is None


def test_without_it_no_loss_and_no_features(make_model) -> None:
    model = make_model(label_pooling=False)
    pixels = torch.randn(1, 3, 64, 64)
    assert model(pixels, torch.zeros(1, 3)).losses.keys() == {"classification", "semantic", "transport"}
    assert model.sct(pixels).pooled_features is None
