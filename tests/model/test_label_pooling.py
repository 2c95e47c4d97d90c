"""Scores of what the backward plans bring to labels, against the formula written out slowly in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from sct_hf.model.outputs_sct import asymmetric_loss
from tests.model.tiny import LABELS


@pytest.mark.parametrize("scorer", ["linear", "label"])
@pytest.mark.parametrize("prototypes", [True, False])
def test_by_hand(make_model, scorer: str, prototypes: bool) -> None:
    model = make_model(scorer=scorer, label_prototypes=prototypes, prototype_pooling=0.3).double()
    if prototypes:
        drawn = torch.randn(3, model.backbone.num_features, dtype=torch.float64)
        model.set_labels(LABELS, model.sct.label_embeddings, prototypes=drawn)
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    targets = torch.tensor([[1, 0, 0], [0, 1, 1]], dtype=torch.float64)
    out = model(pixels, targets, output_maps=True)
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
            about = base.label_features[b, k]
            hidden = layer.pooled_proj.weight @ brought + layer.pooled_proj.bias + layer.label_proj.weight @ about
            scores = layer.scores
            if scorer == "linear":
                logits[b, k] = scores.proj.weight[k] @ F.gelu(hidden) + scores.proj.bias[k]
            else:
                vector = scores.proj.weight @ text[k] + scores.proj.bias
                logits[b, k] = vector @ F.gelu(hidden) / math.sqrt(len(hidden) * len(text[k])) + scores.bias
    torch.testing.assert_close(out.branch_logits["pooled"], logits, rtol=0, atol=1e-10)

    p = logits.sigmoid()
    loss = -(targets * p.log() + (1 - targets) * (1 - p).log() * p**2).mean()  # ASL with γ₋ = 2
    torch.testing.assert_close(out.losses["pooled"], loss, rtol=0, atol=1e-10)


def test_branches_have_the_losses_and_make_up_the_logits(make_model, targets) -> None:
    model = make_model()
    pixels = torch.randn(3, 3, 64, 64)
    out = model(pixels, targets)
    branches = out.branch_logits
    assert list(branches) == ["region", "map", "pooled"]
    torch.testing.assert_close(out.logits, torch.stack(list(branches.values())).mean(dim=0))
    for name, logits in branches.items():
        torch.testing.assert_close(asymmetric_loss(logits, targets), out.losses[name])
    weights = {"region": 1.0, "map": 0.8, "pooled": 1.0, "transport": 0.1}
    assert out.losses.keys() == weights.keys()
    torch.testing.assert_close(out.loss, sum(weights[name] * loss for name, loss in out.losses.items()))


def test_the_steps_of_a_forward_pass_are_those_of_the_model(make_model, targets) -> None:
    """Match, branches, fuse and losses give what the model gives, also by other exponents of the loss."""
    model, pixels = make_model(), torch.randn(3, 3, 64, 64)
    out = model(pixels, targets)
    match = model.match(pixels, None)
    branches = model.branches(match, match.vocabulary)
    for name, logits in branches.items():
        assert torch.equal(logits, out.branch_logits[name])
    assert torch.equal(model.fuse(branches, match.vocabulary), out.logits)
    losses = model.losses(branches, match, targets)
    assert losses == out.losses
    plain = model.losses(branches, match, targets, gamma_neg=0.0)
    torch.testing.assert_close(plain["map"], asymmetric_loss(branches["map"], targets, gamma_neg=0.0))
    assert plain["transport"] == losses["transport"]
