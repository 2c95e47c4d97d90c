"""How parts of the loss are put together."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sct_hf import PeerConfig, PeerForMultiLabelClassification
from sct_hf.objectives.base import OBJECTIVES, Objective, Step, TrainingObjective, register_objective
from sct_hf.objectives.hierarchy import Hierarchy
from sct_hf.options import options_of
from tests.objectives.making import objective_of

LABELS = torch.tensor([[1.0, 0, 1], [0, 1, -1]])


class Spread(Objective):
    """A loss of the logits, by a weight that falls; images are halved, and the first label is unknown to all."""

    def __init__(self, name: str = "spread") -> None:
        super().__init__()
        self.name = name
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def prepare(self, inputs: dict[str, Tensor], labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return {name: value / 2 for name, value in inputs.items()}, torch.cat(
            (labels[:, :1] * 0 - 1, labels[:, 1:]), 1
        )

    def focus(self, focus: dict[str, Any]) -> dict[str, Any]:
        return focus | {"gamma_neg": 0.0}

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {self.name: self.scale * step.logits.square().mean()}

    def weights(self, progress: float) -> dict[str, float]:
        return {self.name: 1 - progress}


@pytest.fixture
def model() -> PeerForMultiLabelClassification:
    torch.manual_seed(0)
    config = PeerConfig(backbone="test_efficientnet", image_size=64, id2label=dict(enumerate("abc")))
    return PeerForMultiLabelClassification(config).eval()


def test_parts_prepare_batches_set_the_focus_and_add_losses(model: PeerForMultiLabelClassification) -> None:
    images, part = torch.randn(2, 3, 64, 64), Spread()
    objective = TrainingObjective(model, [part, *objective_of(model).parts])
    found = objective(LABELS, 0.25, pixel_values=images)
    logits = model(images / 2).logits
    known = torch.nn.functional.binary_cross_entropy_with_logits(logits, LABELS.clamp(min=0), reduction="none")
    expected = known[[0, 0, 1], [1, 2, 1]].mean()
    assert list(found) == ["spread", "head", "loss"]
    torch.testing.assert_close(found["head"], expected)
    torch.testing.assert_close(found["spread"], 2 * logits.square().mean())
    torch.testing.assert_close(found["loss"], expected + 0.75 * found["spread"])
    found["loss"].backward()
    torch.testing.assert_close(part.scale.grad, 0.75 * logits.square().mean())


def test_the_model_runs_once_for_all_parts(model: PeerForMultiLabelClassification) -> None:
    calls = []
    model.head.register_forward_hook(lambda *_: calls.append(1))
    objective = TrainingObjective(model, [*objective_of(model).parts, Spread("one"), Spread("two")])
    objective(LABELS, 0.0, pixel_values=torch.randn(2, 3, 64, 64))
    assert calls == [1]


def test_two_losses_of_one_name(model: PeerForMultiLabelClassification) -> None:
    objective = TrainingObjective(model, [Spread(), Spread()])
    with pytest.raises(ValueError, match="Spread gives the loss 'spread', as another part does: rename one"):
        objective(LABELS, 0.0, pixel_values=torch.randn(2, 3, 64, 64))


def test_targets_and_inputs_are_checked(model: PeerForMultiLabelClassification) -> None:
    objective = objective_of(model)
    with pytest.raises(ValueError, match=r"labels have shape \(2, 4\)"):
        objective(torch.zeros(2, 4), 0.0, pixel_values=torch.randn(2, 3, 64, 64))
    with pytest.raises(ValueError, match="either pixel_values or backbone_features"):
        objective(LABELS, 0.0)
    with pytest.raises(TypeError, match="known"):
        objective(LABELS, 0.0, pixel_values=torch.randn(2, 3, 64, 64), known=LABELS)


def test_a_name_belongs_to_one_class() -> None:
    register_objective("hierarchy")(Hierarchy)  # the same module, imported again
    with pytest.raises(ValueError, match=r"objective='hierarchy' is registered twice, as .*Hierarchy and .*Spread"):
        register_objective("hierarchy")(Spread)
    assert OBJECTIVES["hierarchy"] is Hierarchy


def test_every_option_of_an_objective_is_an_option_once() -> None:
    names = options_of(*(objective.Options for objective in OBJECTIVES.values()))
    assert len(names) > 10


def test_the_model_alone_is_saved(model: PeerForMultiLabelClassification) -> None:
    targets = np.array([[1.0, 0, -1]])
    state = objective_of(model, targets, unknown_labels="recover", positive_weights="auto").state_dict()
    assert set(state) == {f"model.{name}" for name in model.state_dict()}
