"""Label mask training: what the model is told takes no part in any loss, and teaches the other labels."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sct_hf import SCTForMultiLabelClassification, asymmetric_loss
from sct_hf.errors import InputError
from sct_hf.model.transport_sct import conditional_transport
from sct_hf.objectives import known_labels
from sct_hf.objectives.known_labels import KnownLabelsOptions
from sct_hf.variants.known_labels import SCTKnownLabelsConfig, SCTWithKnownLabels
from tests.model.tiny import tiny_config
from tests.objectives.making import losses_of, objective_of

STILL = {"dropout": 0.0, "scorer_dropout": 0.0, "aligned_dropout": 0.0}
TARGETS = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, -1]])
DRAWN = torch.tensor([[1.0, -1, -1], [-1, 0, -1], [1, -1, 0], [-1, -1, -1]])
MASKED = torch.tensor([[-1.0, 0, 1], [0, -1, 1], [-1, 1, -1], [0, 1, -1]])


@pytest.fixture
def model() -> SCTWithKnownLabels:
    torch.manual_seed(0)
    fields = {
        name: value for name, value in tiny_config(**STILL, label_parents={"dog": ["cat"]}).to_diff_dict().items()
    }
    fields.pop("model_type", None)
    model = SCTWithKnownLabels(SCTKnownLabelsConfig(**fields))
    model(images())  # moves the running statistics off 0 and 1
    model.train().backbone.eval()
    return model


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is drawn is fixed; the largest shares that were asked for."""
    asked: list[float] = []

    def draw(labels: Tensor, share: float) -> Tensor:
        asked.append(share)
        return DRAWN

    monkeypatch.setattr(known_labels, "draw_known_labels", draw)
    return asked


def images() -> Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_what_is_known_is_not_learnt(model: SCTWithKnownLabels, shares: list[float]) -> None:
    """Every loss is that of targets masked by hand; those of scores and transport are computed by hand too."""
    options = {"contrast_loss_weight": 0.3, "erasing_loss_weight": 0.4, "hierarchy_loss_weight": 0.5}
    found = losses_of(model, images(), TARGETS, known_share_max=0.6, **options)
    assert shares == [0.6]
    objective = objective_of(model, known_share_max=0.6, **options)
    objective.parts = torch.nn.ModuleList(p for p in objective.parts if not isinstance(p, known_labels.KnownLabels))
    torch.manual_seed(0)
    by_hand = objective(MASKED, 0.0, pixel_values=images(), known=DRAWN)
    names = ["region", "map", "pooled", "transport", "contrast", "hierarchy", "erasing", "loss"]
    assert sorted(found) == sorted(names)
    for name, loss in found.items():
        assert loss > 0, name
        torch.testing.assert_close(loss, by_hand[name], msg=name)
    out = model(images(), known=DRAWN, output_maps=True)
    for name, logits in out.branch_logits.items():
        torch.testing.assert_close(found[name], asymmetric_loss(logits, MASKED), msg=name)
        assert (found[name] - asymmetric_loss(logits, TARGETS)).abs() > 1e-5
    match = model.match(images(), None, model.vocabulary(), known=DRAWN)
    prior = out.semantic_map.flatten(2).transpose(1, 2)
    expected = conditional_transport(
        match.regions[-1],
        match.label_features,
        temperature=model.sct.log_temperature.exp(),
        region_log_prior=prior,
        label_log_prior=prior,
        label_weights=MASKED.clamp(min=0),
    ).loss
    torch.testing.assert_close(found["transport"], expected)


def test_gradients_reach_the_states_with_checkpointing_too(model: SCTWithKnownLabels, shares: list[float]) -> None:
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        losses_of(model, images(), TARGETS)["loss"].backward()
        gradients.append(model.sct.label_states.embeddings.grad)
    assert (gradients[0].abs().sum(1) > 0).all()
    torch.testing.assert_close(*gradients)


def test_losses_are_those_of_the_models_forward(model: SCTWithKnownLabels) -> None:
    """By default the same share is drawn there, for transformers' Trainer."""
    torch.manual_seed(0)
    out = model(images(), TARGETS)
    found = losses_of(model, images(), TARGETS)
    torch.testing.assert_close(found["loss"], out.loss)
    assert found["region"] == out.losses["region"]


def test_other_models_are_told_nothing(make_model: Callable[..., SCTForMultiLabelClassification]) -> None:
    assert not any(isinstance(part, known_labels.KnownLabels) for part in objective_of(make_model()).parts)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_a_share_out_of_range(share: float) -> None:
    with pytest.raises(InputError, match=r"known_share_max is .*: give a number in \(0, 1\]"):
        KnownLabelsOptions(known_share_max=share)
