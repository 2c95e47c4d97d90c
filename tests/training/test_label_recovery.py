"""What is done about unknown labels, against slow references."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nan, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sct_hf import SCTConfig, SCTForMultiLabelClassification
from sct_hf.errors import InputError
from sct_hf.model.backbone_sct import MultiLabelOutput
from sct_hf.training import label_blending
from sct_hf.training.arguments import TrainArguments
from sct_hf.training.label_blending import LabelBlending, draw_partners
from sct_hf.training.label_recovery import LabelRecovery, assume_negative
from sct_hf.training.unknown_labels import make_recovery, recovery_weight

IMAGES, LABELS, SIDE = 6, 3, 32


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def asl(logits: np.ndarray, targets: np.ndarray, gamma_neg: float) -> float:
    """Mean over entries that are numbers, from the formula, entry by entry (γ₊ = 0)."""
    losses = []
    for z, y in zip(logits.ravel(), targets.ravel(), strict=True):
        if not np.isnan(y):
            p = sigmoid(z)
            focus = (1 - y * p - (1 - y) * (1 - p)) ** ((1 - y) * gamma_neg)
            losses.append(-focus * (y * np.log(p) + (1 - y) * np.log(1 - p)))
    return float(np.mean(losses))


class Stub(nn.Module):
    """Gives logits that were set before, and a loss that tells which targets it was given."""

    def __init__(self, branches: dict[str, Tensor] | None, logits: Tensor) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            gamma_neg=2.0, gamma_pos=0.0, clip=0.0, semantic_loss_weight=0.8, label_losses=None
        )
        self.branches, self.logits = branches, nn.Parameter(logits)
        self.targets: Tensor | None = None

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any) -> MultiLabelOutput:
        self.targets = labels
        loss = self.logits.sum() * 0 + 5.0
        branches = self.branches if kwargs.get("output_branches") else None
        return MultiLabelOutput(loss=loss, logits=self.logits, losses={"classification": loss}, branch_logits=branches)


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([[1, 0, -1], [nan, -1, 1], [0, 0.3, 1]])


@pytest.mark.parametrize("kinds", [("region", "map", "pooled"), ("region", "map"), ()])
def test_every_kind_of_scores_learns_what_is_known_and_else_the_teachers_scores(
    labels: Tensor, kinds: tuple[str, ...]
) -> None:
    draw = torch.Generator().manual_seed(0)
    whole, taught = (torch.randn(3, 3, generator=draw) for _ in range(2))
    branches = {name: torch.randn(3, 3, generator=draw, requires_grad=True) for name in kinds}
    model, teacher = Stub(branches or None, whole), Stub(None, taught)
    output = LabelRecovery(model, lambda: teacher, temperature=0.5, only_present=False)(
        labels, weight=0.5, pixel_values=whole
    )
    pseudo = np.where(labels >= 0, labels, sigmoid(2 * taught.numpy()))
    parts = {name: asl(logits.detach().numpy(), pseudo, 2.0) for name, logits in branches.items()}
    weighted = {name: (0.8 if name == "map" else 1.0) * part for name, part in parts.items()}
    expected = sum(weighted.values()) if kinds else asl(whole.numpy(), pseudo, 2.0)
    assert output.losses["recovery"].item() == pytest.approx(expected, rel=1e-5)
    assert output.loss.item() == pytest.approx(5 + 0.5 * expected, rel=1e-5)
    output.loss.backward()
    assert teacher.logits.grad is None
    assert teacher.targets is None
    assert all(logits.grad.abs().sum() > 0 for logits in branches.values())
    torch.testing.assert_close(model.targets, labels, equal_nan=True)


def test_recovered_labels_are_weighed_as_known_ones(labels: Tensor) -> None:
    model = Stub(None, torch.randn(3, LABELS))
    weight = [2.0, 0.5, 3.0]
    model.config.label_losses = {"positive_weight": weight}
    model.config.gamma_neg = 0.0
    scores, logits = torch.rand(3, LABELS), model.logits.detach()
    recovery = LabelRecovery(model, lambda: model, temperature=1.0, only_present=False)
    loss = recovery.recovery_loss(model(torch.zeros(1)), labels, scores)
    targets = torch.where(labels >= 0, labels, scores)
    torch.testing.assert_close(
        loss.detach(), binary_cross_entropy_with_logits(logits, targets, pos_weight=torch.tensor(weight))
    )


def test_without_one_absent_label_the_first_branch_takes_unknown_ones_as_absent(labels: Tensor) -> None:
    model = Stub(None, torch.zeros(3, 3))
    seen: list[Tensor] = []
    forward = model.forward
    model.forward = lambda *args, **kwargs: seen.append(kwargs.get("labels")) or forward(*args, **kwargs)
    LabelRecovery(model, lambda: model, temperature=0.5, only_present=True)(labels, weight=1.0, pixel_values=labels)
    assert seen[1] is None  # the teacher's
    assert seen[0].tolist() == [[1, 0, 0], [0, 0, 1], [0, pytest.approx(0.3), 1]]


def test_unknown_is_absent(labels: Tensor) -> None:
    assert assume_negative(labels).tolist() == [[1, 0, 0], [0, 0, 1], [0, pytest.approx(0.3), 1]]


def test_the_weight_rises_in_a_line() -> None:
    assert [recovery_weight(progress, 2.0, 0.4) for progress in (0, 0.1, 0.4, 0.9)] == [0, 0.5, 2, 2]
    assert recovery_weight(0.0, 2.0, 0.0) == 2


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
    monkeypatch.setattr(label_blending, "draw_partners", lambda known: partner)
    monkeypatch.setattr(torch, "rand_like", lambda like: draws)
    blending = LabelBlending(model, lambda: model, temperature=0.5, only_present=False)
    with torch.no_grad():
        out = model(images, output_branches=True, output_label_features=True)
    scores = torch.rand(IMAGES, LABELS, generator=draw)
    found = blending.recovery_loss(out, labels, scores).item()

    pseudo = np.where(labels < 0, scores, labels)
    expected = sum(
        (0.8 if name == "map" else 1.0) * asl(logits.numpy(), pseudo, model.config.gamma_neg)
        for name, logits in out.branch_logits.items()
    )
    logits, targets = np.zeros((IMAGES, LABELS)), np.full((IMAGES, LABELS), np.nan)
    for row in range(IMAGES):
        mixed = []
        for whole in (out.pooled_features, out.label_features):
            each = whole.clone()
            for label in range(2):
                other, target = whole[partner[row, label], label], labels[partner[row, label], label].item()
                if label == 0 and row in (0, 2, 5):
                    other, target = (whole[0, 0] + whole[3, 0] + whole[5, 0]) / 3, 1
                each[row, label] = (whole[row, label] + other) / 2
                targets[row, label] = (pseudo[row, label] + target) / 2
            mixed.append(each)
        with torch.no_grad():
            logits[row] = model.pooled_scorer(*mixed, model.sct.label_embeddings)[row].numpy()
    assert np.isnan(targets).sum() == IMAGES
    expected += 0.25 * asl(logits, targets, model.config.gamma_neg)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("autocast", [False, True])
def test_prototypes_are_running_means(model: SCTForMultiLabelClassification, autocast: bool) -> None:
    blending = LabelBlending(model, lambda: model, temperature=0.5, only_present=False)
    draw = torch.Generator().manual_seed(2)
    wide, width = model.backbone.num_features, model.sct.hidden_size
    means, seen = [torch.zeros(wide), torch.zeros(width)], 0
    for _ in range(80):
        shown = [torch.randn(4, LABELS, size, generator=draw) for size in (wide, width)]
        present = torch.rand(4, LABELS, generator=draw) < 0.2
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            blending._update_prototypes(*shown, present)
        rows = [row for row in range(4) if present[row, 1]]
        if rows:
            seen += 1
            rate = max(1 / seen, 0.05)
            means = [
                (1 - rate) * mean + rate * each[rows, 1].mean(dim=0) for mean, each in zip(means, shown, strict=True)
            ]
    assert blending.seen[1] == seen
    assert 25 < seen < 80
    for mean, found in zip(means, (blending.feature_prototypes, blending.token_prototypes), strict=True):
        torch.testing.assert_close(found[1], mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("treatment", "targets", "kind"),
    [
        ("ignore", [[1, -1]], None),
        ("negative", [[1, -1]], None),
        ("recover", [[1, 0]], None),
        ("blend", [[1, 0]], None),
        ("recover", [[0, -1]], LabelRecovery),
        ("blend", [[1, -1]], LabelBlending),
    ],
)
def test_nothing_is_recovered_where_all_is_known(
    model: SCTForMultiLabelClassification, treatment: str, targets: Any, kind: type | None
) -> None:
    average: Any = SimpleNamespace(model=model)
    options = TrainArguments(unknown_labels=treatment, recovery_temperature=0.25)
    made = make_recovery(options, model, average, np.array(targets, dtype=np.float32))
    assert type(made) is (kind or type(None))
    if made is not None:
        assert made.temperature == 0.25
        assert made.only_present == (0 not in np.array(targets))


def test_a_head_without_label_pooling_cannot_blend() -> None:
    average: Any = SimpleNamespace()
    with pytest.raises(InputError, match="unknown_labels is 'blend': it needs --head sct with label_pooling"):
        make_recovery(
            TrainArguments(unknown_labels="blend"), Stub(None, torch.zeros(1, 1)), average, np.array([[-1.0, 1.0]])
        )
