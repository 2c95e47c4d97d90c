"""What is recovered of unknown labels, against a slow reference."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nan, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sct_hf.errors import InputError
from sct_hf.model.outputs_sct import asymmetric_loss
from sct_hf.objectives.base import TrainingObjective
from sct_hf.objectives.blending import Blending
from sct_hf.objectives.recovery import Recovery, RecoveryOptions
from sct_hf.objectives.supervised import Supervised
from sct_hf.objectives.unknown_labels import assume_negative
from tests.objectives.making import make_context, objective_of
from tests.objectives.slow import asl, sigmoid

SOME, NONE_ABSENT = np.array([[1.0, 0, -1]]), np.array([[1.0, -1, -1]])
WEIGHTS = {"map": 0.8}


class Stub(nn.Module):
    """Gives the branches that were set before, and their mean; notes what it was given."""

    takes_known_labels = gives_maps = False
    hierarchy = None

    def __init__(self, branches: dict[str, Tensor]) -> None:
        super().__init__()
        self.given = nn.ParameterDict(branches)
        self.config = SimpleNamespace(focus={"gamma_neg": 2.0}, label_names=["a", "b", "c"])
        self.loss_weights = WEIGHTS
        self.targets: Tensor | None = None

    def vocabulary(self) -> None:
        return None

    def match(self, images: Tensor, features: None, vocabulary: None) -> None:
        return None

    def branches(self, match: None, vocabulary: None) -> dict[str, Tensor]:
        return dict(self.given)

    def fuse(self, branches: dict[str, Tensor], vocabulary: None) -> Tensor:
        return sum(branches.values()) / len(branches)

    def losses(self, branches: Any, match: None, labels: Tensor, **focus: Any) -> dict[str, Tensor]:
        self.targets = labels
        return {name: asymmetric_loss(logits, labels, **focus) for name, logits in branches.items()}

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.fuse(self.branches(None, None), None))


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([[1, 0, -1], [nan, -1, 1], [0, 0.3, 1]])


def random_stub(*kinds: str, seed: int) -> Stub:
    draw = torch.Generator().manual_seed(seed)
    return Stub({name: torch.randn(3, 3, generator=draw) for name in kinds})


@pytest.mark.parametrize("kinds", [("region", "map", "pooled"), ("region", "map"), ("head",)])
@pytest.mark.parametrize("progress", [0.05, 0.6])
def test_every_branch_learns_what_is_known_and_else_the_teachers_scores(
    labels: Tensor, kinds: tuple[str, ...], progress: float
) -> None:
    model, teacher = random_stub(*kinds, seed=0), random_stub("head", seed=1)
    options = {"unknown_labels": "recover", "recovery_weight": 2.0, "recovery_warmup": 0.2}
    objective = objective_of(model, SOME, lambda: teacher, recovery_temperature=0.5, **options)
    assert objective.needs_teacher
    found = objective(labels, progress, pixel_values=torch.zeros(3))
    pseudo = np.where(labels >= 0, labels, sigmoid(2 * teacher.given["head"].detach().numpy()))
    known = np.where(labels >= 0, labels, np.nan)
    expected = {}
    for name, targets in (("recovery", pseudo), ("supervised", known)):
        parts = {kind: asl(logits.detach().numpy(), targets, 2.0) for kind, logits in model.given.items()}
        expected[name] = sum((0.8 if kind == "map" else 1.0) * part for kind, part in parts.items())
    assert found["recovery"].item() == pytest.approx(expected["recovery"], rel=1e-5)
    weight = 2.0 * min(progress / 0.2, 1)
    assert found["loss"].item() == pytest.approx(expected["supervised"] + weight * expected["recovery"], rel=1e-5)
    found["recovery"].backward()
    assert teacher.given["head"].grad is None
    assert all(logits.grad.abs().sum() > 0 for logits in model.given.values())
    torch.testing.assert_close(model.targets, labels, equal_nan=True)
    assert "teacher" not in " ".join(objective.state_dict())


def test_recovered_labels_are_weighed_as_known_ones(labels: Tensor) -> None:
    model, weight = random_stub("head", seed=0), np.array([2.0, 0.5, 3.0])
    model.config.focus = {"gamma_neg": 0.0}
    context = make_context(model, SOME, unknown_labels="recover", recovery_temperature=1.0)
    parts = [Supervised(WEIGHTS, {"positive_weight": weight}), Recovery(context, context.options_of("recovery"))]
    found = TrainingObjective(model, parts)(labels, 1.0, pixel_values=torch.zeros(3))
    logits = model.given["head"].detach()
    targets = torch.where(labels >= 0, labels, logits.sigmoid())
    pos_weight = torch.tensor(weight, dtype=torch.float32)
    torch.testing.assert_close(
        found["recovery"].detach(), binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight)
    )


def test_without_one_absent_label_the_other_losses_take_unknown_ones_as_absent() -> None:
    labels = torch.tensor([[1, -1, -1], [nan, -1, 1], [-1, 0.3, 1]])
    model, teacher = random_stub("head", seed=0), random_stub("head", seed=1)
    objective = objective_of(model, NONE_ABSENT, lambda: teacher, unknown_labels="recover", recovery_temperature=0.5)
    found = objective(labels, 1.0, pixel_values=torch.zeros(3))
    assert model.targets.tolist() == [[1, 0, 0], [0, 0, 1], [0, pytest.approx(0.3), 1]]
    pseudo = np.where(labels >= 0, labels, sigmoid(2 * teacher.given["head"].detach().numpy()))
    expected = asl(model.given["head"].detach().numpy(), pseudo, 2.0)
    assert found["recovery"].item() == pytest.approx(expected, rel=1e-5)


def test_unknown_is_absent(labels: Tensor) -> None:
    assert assume_negative(labels).tolist() == [[1, 0, 0], [0, 0, 1], [0, pytest.approx(0.3), 1]]


def test_the_weight_rises_in_a_line() -> None:
    context = make_context(random_stub("head", seed=0))
    for warmup, expected in ((0.4, [0, 0.5, 2, 2]), (0.0, [2, 2, 2, 2])):
        part = Recovery(context, RecoveryOptions(recovery_weight=2.0, recovery_warmup=warmup))
        assert [part.weights(progress)["recovery"] for progress in (0, 0.1, 0.4, 0.9)] == expected


@pytest.mark.parametrize(
    ("treatment", "targets", "kind"),
    [
        ("ignore", [[1, -1]], None),
        ("negative", [[1, -1]], None),
        ("recover", [[1, 0]], None),
        ("blend", [[1, 0]], None),
        ("recover", [[0, -1]], Recovery),
        ("recover", [[0, nan]], Recovery),
    ],
)
def test_nothing_is_recovered_where_all_is_known(treatment: str, targets: Any, kind: type | None) -> None:
    matrix, options = np.array(targets, dtype=np.float32), {"recovery_temperature": 0.25}
    parts = objective_of(random_stub("head", seed=0), matrix, unknown_labels=treatment, **options).parts
    found = [part for part in parts if isinstance(part, Recovery)]
    assert [type(part) for part in found] == [kind] * (kind is not None)
    for part in found:
        assert part.options.recovery_temperature == 0.25
        assert part.only_present == (0 not in matrix)


def test_a_head_without_pooled_features_cannot_blend() -> None:
    with pytest.raises(InputError, match="unknown_labels is 'blend', which needs --head sct"):
        objective_of(random_stub("head", seed=0), SOME, unknown_labels="blend")
    assert (
        Blending.from_options(
            None, make_context(random_stub("head", seed=0), unknown_labels="blend", targets=SOME * 0)
        )
        is None
    )


def test_what_known_labels_states_tell_is_not_recovered() -> None:
    model = random_stub("head", seed=0)
    model.takes_known_labels = True
    with pytest.raises(InputError, match="unknown_labels is 'recover', but this head gets known labels as input"):
        objective_of(model, SOME, unknown_labels="recover")
