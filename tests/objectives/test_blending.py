"""Blending of what images show of labels, against slow references."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sct_hf import SCTConfig, SCTForMultiLabelClassification
from sct_hf.objectives import blending
from sct_hf.objectives.base import take_step
from sct_hf.objectives.blending import Blending, draw_partners
from sct_hf.objectives.recovery import RecoveryOptions
from tests.objectives.making import make_context, objective_of
from tests.objectives.slow import asl

IMAGES, LABELS, SIDE = 6, 3, 32


def test_partners_are_drawn_alike_from_where_the_label_is_known() -> None:
    torch.manual_seed(0)
    known = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 0, 1], [1, 0, 1]]).bool()
    draws = torch.stack([draw_partners(known) for _ in range(3000)])  # (T, B, C)
    assert (draws.min(), draws.max()) == (0, 3)
    for label in (0, 2):
        rows = known[:, label].nonzero().flatten().tolist()
        for image in range(4):
            counts = torch.bincount(draws[:, image, label], minlength=4)
            assert counts[~known[:, label]].sum() == 0
            share = 1 / len(rows)
            error = (3000 * share * (1 - share)) ** 0.5
            assert all(abs(counts[row] - 3000 * share) < 4 * error for row in rows)
    agreement = (draws[:, 0, 0] == draws[:, 2, 0]).float().mean().item()
    assert agreement == pytest.approx(1 / 3, abs=0.04)  # images draw apart


@pytest.fixture
def model() -> SCTForMultiLabelClassification:
    torch.manual_seed(0)
    config = SCTConfig(
        backbone="test_efficientnet",
        image_size=SIDE,
        hidden_size=16,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        label_embedding_size=8,
        dropout=0.0,
        input_dropout=0.0,
        scorer_dropout=0.0,
        aligned_dropout=0.0,
        id2label={0: "a", 1: "b", 2: "c"},
    )
    return SCTForMultiLabelClassification(config).train()


def test_blending_against_a_slow_reference(
    model: SCTForMultiLabelClassification, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(IMAGES, 3, SIDE, SIDE, generator=draw)
    # The first label has a prototype, the second none, the third is known nowhere.
    labels = torch.tensor([[1, 0, -1], [-1, 0, -1], [0, -1, -1], [1, -1, -1], [-1, 0, -1], [1, 0, -1]])
    partner = torch.tensor([[3, 5, 0], [2, 0, 1], [5, 1, 2], [0, 4, 3], [0, 5, 4], [2, 1, 5]])
    draws = torch.tensor([[0.2], [0.7], [0.1], [0.9], [0.6], [0.4]]).expand(IMAGES, LABELS)
    monkeypatch.setattr(blending, "draw_partners", lambda known: partner)
    monkeypatch.setattr(torch, "rand_like", lambda like: draws)
    scores = torch.rand(IMAGES, LABELS, generator=draw)
    teacher = SimpleNamespace(logits=scores.logit() / 2)  # the temperature takes the half out
    targets = labels.float().numpy()
    objective = objective_of(model, targets, lambda: lambda **_: teacher, unknown_labels="blend")
    model.backbone.eval()
    with torch.no_grad():
        found = objective(labels.float(), 1.0, pixel_values=images)["recovery"].item()
        step = take_step(model, {"pixel_values": images}, labels, {}, 1.0)

    pseudo = np.where(labels < 0, scores, labels)
    expected = sum(
        (0.8 if name == "map" else 1.0) * asl(logits.numpy(), pseudo, model.config.gamma_neg)
        for name, logits in step.branches.items()
    )
    logits, targets = np.zeros((IMAGES, LABELS)), np.full((IMAGES, LABELS), np.nan)
    for row in range(IMAGES):
        mixed = []
        for whole in (step.match.pooled_features, step.match.label_features):
            each = whole.clone()
            for label in range(2):
                other, target = whole[partner[row, label], label], labels[partner[row, label], label].item()
                if label == 0 and row in (0, 2, 5):
                    other, target = (whole[0, 0] + whole[3, 0] + whole[5, 0]) / 3, 1
                each[row, label] = (whole[row, label] + other) / 2
                targets[row, label] = (pseudo[row, label] + target) / 2
            mixed.append(each)
        with torch.no_grad():
            logits[row] = model.pooled_scorer(*mixed, model.vocabulary().centred)[row].numpy()
    assert np.isnan(targets).sum() == IMAGES
    expected += 0.25 * asl(logits, targets, model.config.gamma_neg)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("autocast", [False, True])
def test_prototypes_are_running_means(model: SCTForMultiLabelClassification, autocast: bool) -> None:
    made = Blending(make_context(model), RecoveryOptions())
    draw = torch.Generator().manual_seed(2)
    wide, width = model.backbone.num_features, model.sct.hidden_size
    means, seen = [torch.zeros(wide), torch.zeros(width)], 0
    for _ in range(80):
        shown = [torch.randn(4, LABELS, size, generator=draw) for size in (wide, width)]
        present = torch.rand(4, LABELS, generator=draw) < 0.2
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            made.update_prototypes(*shown, present)
        rows = [row for row in range(4) if present[row, 1]]
        if rows:
            seen += 1
            rate = max(1 / seen, 0.05)
            means = [
                (1 - rate) * mean + rate * each[rows, 1].mean(dim=0) for mean, each in zip(means, shown, strict=True)
            ]
    assert made.seen[1] == seen
    assert 25 < seen < 80
    for mean, found in zip(means, (made.feature_prototypes, made.token_prototypes), strict=True):
        torch.testing.assert_close(found[1], mean, rtol=1e-4, atol=1e-5)
