"""The model's own losses in training: they equal those of its forward, and hold the settings of each label."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sct_hf import PeerConfig, PeerForMultiLabelClassification, SCTForMultiLabelClassification, asymmetric_loss
from sct_hf.objectives.base import TrainingObjective
from sct_hf.objectives.hierarchy import Hierarchy
from sct_hf.objectives.supervised import Supervised
from tests.model.tiny import LABELS
from tests.objectives.making import losses_of, objective_of

FOCUS = {
    "gamma_neg": np.array([0.0, 1.0, 3.0]),
    "gamma_pos": np.array([0.5, 0.0, 1.0]),
    "positive_weight": np.array([1.0, 4.0, 0.5]),
    "logit_shift": np.array([-3.0, 0.0, 2.0]),
}
STILL = {"dropout": 0, "scorer_dropout": 0, "aligned_dropout": 0}
MakeModel = Callable[..., SCTForMultiLabelClassification]


def peer(head: str, **fields) -> PeerForMultiLabelClassification:
    torch.manual_seed(0)
    names = dict(enumerate(LABELS))
    return PeerForMultiLabelClassification(
        PeerConfig(head=head, backbone="test_efficientnet", image_size=64, id2label=names, **fields)
    ).eval()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("head", ["sct", "linear", "patchct", "clsl"])
def test_loss_and_gradients_are_those_of_the_models_forward(
    make_model: MakeModel, targets: torch.Tensor, head: str, training: bool
) -> None:
    """Unasked for, training adds nothing, and what transformers' Trainer minimises is the same."""
    model = make_model() if head == "sct" else peer(head)
    images, gradients = torch.randn(3, 3, 64, 64), []
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for by_hand in (False, True):
        model.load_state_dict(state)
        model.train(training).zero_grad()
        torch.manual_seed(0)
        out = model(images, targets)
        found = out.losses | {"loss": out.loss} if by_hand else losses_of(model, images, targets)
        found["loss"].backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        values = {name: value.item() for name, value in found.items()}
        expected = {name: value.item() for name, value in (out.losses | {"loss": out.loss}).items()}
        assert values == pytest.approx(expected, rel=1e-6)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-5, atol=1e-8, msg=name)


def test_every_loss_of_sct_uses_the_settings_of_each_label(make_model: MakeModel, targets: torch.Tensor) -> None:
    model = make_model()
    images = torch.randn(3, 3, 64, 64)
    objective = TrainingObjective(model, [Supervised(model.loss_weights, FOCUS)])
    with torch.no_grad():
        found = objective(targets, 0.0, pixel_values=images)
        logits = model(images).branch_logits
    settings = {name: torch.tensor(values, dtype=torch.float32) for name, values in FOCUS.items()}
    assert logits.keys() == {"region", "map", "pooled"}
    for name, values in logits.items():
        torch.testing.assert_close(found[name], asymmetric_loss(values, targets, **settings), rtol=1e-5, atol=0)
        assert found[name] != asymmetric_loss(values, targets)
    weighted = found["region"] + 0.8 * found["map"] + found["pooled"] + 0.1 * found["transport"]
    torch.testing.assert_close(found["loss"], weighted)
    assert not objective.parts[0].state_dict()  # no checkpoint holds them


@pytest.mark.parametrize("head", ["linear", "csra"])
def test_peer_heads_use_them(head: str) -> None:
    model, labels = peer(head, gamma_neg=0), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    images, weight = torch.randn(2, 3, 64, 64), FOCUS["positive_weight"]
    objective = TrainingObjective(model, [Supervised(model.loss_weights, {"positive_weight": weight})])
    found = objective(labels, 0.0, pixel_values=images)
    pos_weight = torch.tensor(weight, dtype=torch.float32)
    expected = F.binary_cross_entropy_with_logits(model(images).logits, labels, pos_weight=pos_weight)
    torch.testing.assert_close(found["loss"], expected)


def test_they_come_of_the_known_training_targets(make_model: MakeModel, targets: torch.Tensor) -> None:
    """Present and absent, by hand: 1 and 3, 2 and 1, 1 and 1."""
    counted = np.array([[1, 1, 1], [0, 1, 0], [0, 0, -1], [0, np.nan, -1]])
    weights = {"auto": [3, 0.5, 1], "sqrt": [3**0.5, 0.5**0.5, 1]}
    images, model = torch.randn(3, 3, 64, 64), make_model()
    for choice, expected in weights.items():
        with torch.no_grad():
            found = losses_of(model, images, targets, targets=counted, positive_weights=choice)
            logits = model(images).branch_logits["region"]
        weight = torch.tensor(expected)
        torch.testing.assert_close(
            found["region"], asymmetric_loss(logits, targets, positive_weight=weight, gamma_neg=2)
        )


@pytest.mark.parametrize(
    ("targets", "treatment", "weight"),
    [
        ([[1, 0, -1], [-1, 1, 0]], "ignore", [1, 1, 1]),
        ([[1, 0, -1], [-1, 1, 0]], "negative", [1, 1, 2]),  # none present counts as one
        ([[1, -1, -1], [-1, 1, -1]], "ignore", [1, 1, 2]),  # not one absent label is known
    ],
)
def test_unknown_labels_count_as_training_takes_them(
    make_model: MakeModel, targets: list[list[float]], treatment: str, weight: list[float]
) -> None:
    options = {"unknown_labels": treatment, "positive_weights": "auto"}
    parts = objective_of(make_model(), np.array(targets, dtype=np.float32), **options).parts
    supervised = next(part for part in parts if isinstance(part, Supervised))
    torch.testing.assert_close(supervised.positive_weight, torch.tensor(weight, dtype=torch.float32))


def test_taken_as_absent(make_model: MakeModel) -> None:
    model, images = make_model(), torch.randn(2, 3, 64, 64)
    unknown, absent = torch.tensor([[1.0, -1, math.nan], [0, 1, 0.3]]), torch.tensor([[1.0, 0, 0], [0, 1, 0.3]])
    with torch.no_grad():
        found = losses_of(model, images, unknown, unknown_labels="negative")
        expected = losses_of(model, images, absent)
        assert found == expected
        assert losses_of(model, images, unknown)["region"] != expected["region"]


def test_the_loss_of_a_hierarchy_uses_the_settings_of_each_label(make_model: MakeModel) -> None:
    model, images = make_model(label_parents={"dog": ["cat"]}), torch.randn(2, 3, 64, 64)
    labels = torch.tensor([[1.0, 1, 0], [0, 1, 0]])
    parts = [Supervised(model.loss_weights, {"positive_weight": FOCUS["positive_weight"]}), Hierarchy(0.5)]
    with torch.no_grad():
        found = TrainingObjective(model, parts)(labels, 0.0, pixel_values=images)["hierarchy"]
        logits = _logits(model, images)
    raised = logits.clone()
    raised[0, 1] = logits[0, :2].max()  # both present
    raised[1, 1] = logits[1, 1]  # the dog is absent, and gives its parent nothing
    weight = torch.tensor(FOCUS["positive_weight"], dtype=torch.float32)
    torch.testing.assert_close(found, asymmetric_loss(raised, labels, positive_weight=weight))


def _logits(model: SCTForMultiLabelClassification, images: torch.Tensor) -> torch.Tensor:
    """The mean of the branches, which a hierarchy has not raised."""
    return torch.stack(list(model(images).branch_logits.values())).mean(0)
