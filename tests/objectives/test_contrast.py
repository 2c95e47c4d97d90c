"""The contrast between labels against a slow reference and cases worked by hand."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sct_hf import PeerConfig, PeerForMultiLabelClassification, SCTForMultiLabelClassification
from sct_hf.errors import InputError
from sct_hf.objectives.base import make_objective
from sct_hf.objectives.contrast import ContrastOptions, label_contrast_loss
from tests.objectives.making import losses_of, make_context


def reference(features: Tensor, labels: Tensor, temperature: float) -> float:
    """Pair by pair, from the formula of supervised contrast (Khosla et al., L_out)."""
    pairs = [
        (label, (features[row, label] / features[row, label].norm()).tolist())
        for row in range(labels.shape[0])
        for label in range(labels.shape[1])
        if labels[row, label] == 1
    ]

    def likeness(one: list[float], other: list[float]) -> float:
        return math.exp(sum(a * b for a, b in zip(one, other, strict=True)) / temperature)

    losses = []
    for i, (label, vector) in enumerate(pairs):
        others = [pair for place, pair in enumerate(pairs) if place != i]
        total = sum(likeness(vector, other) for _, other in others)
        partners = [math.log(likeness(vector, other) / total) for name, other in others if name == label]
        if partners:
            losses.append(-sum(partners) / len(partners))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_formula(temperature: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(6, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.randint(-1, 2, (6, 4), generator=generator).double()
    labels[0, 0], labels[1, 1] = math.nan, 0.7  # unknown, and undecided: no part
    loss = label_contrast_loss(features, labels, temperature)
    assert loss.item() == pytest.approx(reference(features.detach(), labels, temperature), rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: label_contrast_loss(x, labels, temperature), features)
    (gradient,) = torch.autograd.grad(loss, features)
    assert (gradient[labels != 1] == 0).all()


def test_by_hand() -> None:
    """Two labels in two images each, at right angles: every anchor has one partner at 1 and two others at 0."""
    features = torch.eye(2).expand(2, 2, 2)
    expected = -math.log(math.e / (math.e + 2))
    assert label_contrast_loss(features, torch.ones(2, 2), 1.0).item() == pytest.approx(expected)
    mixed = torch.ones(2, 2, 2)  # all alike: the partner is one of three
    assert label_contrast_loss(mixed, torch.ones(2, 2), 0.2).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("labels", [[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0], [0, 1]], [[-1, 0], [-1, 0]]])
def test_without_a_label_in_two_images_it_is_zero(labels: list[list[int]]) -> None:
    features = torch.randn(2, 2, 3, requires_grad=True)
    loss = label_contrast_loss(features, torch.tensor(labels), 0.1)
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, features)
    assert (gradient == 0).all()


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    features, labels = torch.randn(8, 3, 16), torch.ones(8, 3)
    exact = label_contrast_loss(features.bfloat16().float(), labels, 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for loss in (label_contrast_loss(features.bfloat16(), labels, 0.05),):
            assert loss.dtype == torch.float32
            torch.testing.assert_close(loss, exact)


def test_it_joins_the_loss_of_the_model(make_model: Callable[..., SCTForMultiLabelClassification]) -> None:
    torch.manual_seed(1)
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([[1.0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 0, 0]])
    model = make_model()
    plain, contrasted = (losses_of(model, images, labels, contrast_loss_weight=weight) for weight in (0, 0.3))
    assert "contrast" not in plain
    torch.testing.assert_close(contrasted["loss"], plain["loss"] + 0.3 * contrasted["contrast"])
    with torch.no_grad():
        pooled = model.sct(images).pooled_features
        weight, bias = model.pooled_scorer.pooled_proj.weight, model.pooled_scorer.pooled_proj.bias
        expected = reference((pooled @ weight.T + bias).double(), labels, 0.5)
    loss = losses_of(model, images, labels, contrast_loss_weight=0.3, contrast_temperature=0.5)["contrast"]
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert torch.autograd.grad(loss, weight)[0].abs().sum() > 0


def test_a_head_without_pooled_labels_is_trained_without_it() -> None:
    torch.manual_seed(0)
    config = PeerConfig(backbone="test_efficientnet", image_size=64, id2label=dict(enumerate("abc")))
    told: list[str] = []
    context = make_context(PeerForMultiLabelClassification(config), contrast_loss_weight=0.1)
    objective = make_objective(replace(context, say=told.append))
    assert [type(part).__name__ for part in objective.parts] == ["Supervised"]
    assert told == ["contrast_loss_weight needs --head sct: PeerForMultiLabelClassification is trained without it"]


@pytest.mark.parametrize("options", [{"contrast_loss_weight": -0.1}, {"contrast_temperature": 0.0}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} is .*: give a number >"):
        ContrastOptions(**options)
