"""The loss of a hierarchy against a slow reference and cases worked by hand, and its place in training."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sct_hf.errors import InputError
from sct_hf.model.hierarchy_sct import LabelHierarchy
from sct_hf.objectives.hierarchy import HierarchyOptions, hierarchy_loss
from tests.model.test_hierarchy import DIAMOND, HEADS, NAMES, at_or_below, hierarchies, images, tiny
from tests.objectives.making import losses_of, objective_of


@settings(deadline=None)
@given(hierarchies(), st.integers(0, 100))
def test_loss_is_mcloss_of_a_slow_reference(parents: dict[str, list[str]], seed: int) -> None:
    """Cross-entropy: −ln max of the present at or below, where present; −ln(1 − max of the known) where absent."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, 6, generator=generator, dtype=torch.float64)
    targets = torch.tensor([0.0, 1.0, -1.0, math.nan], dtype=torch.float64)[
        torch.randint(4, (3, 6), generator=generator)
    ]
    total = count = 0
    for row in range(3):
        for label, name in enumerate(NAMES):
            y = targets[row, label].item()
            if y not in (0, 1):
                continue
            within = [NAMES.index(other) for other in at_or_below(name, parents)]
            taking_part = [at for at in within if (targets[row, at] == 1 if y else targets[row, at] >= 0)]
            p = max(1 / (1 + math.exp(-logits[row, at].item())) for at in taking_part)
            total, count = total - (math.log(p) if y else math.log(1 - p)), count + 1
    logits.requires_grad_()
    loss = hierarchy_loss(LabelHierarchy(parents, NAMES), logits, targets, gamma_neg=0)
    assert loss.item() == pytest.approx(total / max(count, 1), rel=1e-9)
    loss.backward()
    unknown = ~(targets >= 0)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[unknown] == 0).all()


def test_settings_of_each_label_by_hand() -> None:
    """A cat above a dog, both present: either has the dog's logit, 2, and its own weight."""
    hierarchy, weight = LabelHierarchy({"dog": ["cat"]}, ["dog", "cat", "sofa"]), torch.tensor([3.0, 5.0, 7.0])
    logits, targets = torch.tensor([[2.0, -1.0, 0.0]]), torch.tensor([[1.0, 1, 0]])
    loss = hierarchy_loss(hierarchy, logits, targets, gamma_neg=0, positive_weight=weight)
    assert loss.item() == pytest.approx(((3 + 5) * math.log1p(math.exp(-2)) + math.log(2)) / 3)


@pytest.mark.parametrize("head", HEADS)
def test_the_loss_is_added_by_its_weight(head: str) -> None:
    """It is that of the logits which the model has in training, not raised yet."""
    targets = torch.tensor([[1.0, 0, 1, 1, 1, -1]] * 5)
    model = tiny(head, label_parents=DIAMOND)
    found = {weight: losses_of(model, images(), targets, hierarchy_loss_weight=weight) for weight in (0.0, 0.5)}
    assert "hierarchy" not in found[0.0]
    torch.testing.assert_close(found[0.5]["loss"], found[0.0]["loss"] + 0.5 * found[0.5]["hierarchy"])
    logits = torch.stack(list(model(images()).branch_logits.values())).mean(0)
    torch.testing.assert_close(found[0.5]["hierarchy"], hierarchy_loss(model.hierarchy, logits, targets, gamma_neg=2))
    assert found[0.5]["hierarchy"] > 0


def test_one_graph_compiled() -> None:
    torch.compiler.reset()
    model = tiny(label_parents=DIAMOND)
    maps, targets = torch.randn(3, model.backbone.num_features, 2, 2), torch.tensor([[1.0, 0, 1, 1, 1, -1]] * 3)
    objective = objective_of(model, hierarchy_loss_weight=1.0)
    compiled = torch.compile(objective, fullgraph=True, backend="aot_eager")
    expected, found = (each(targets, 0.0, backbone_features=maps) for each in (objective, compiled))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)


def test_what_cannot_be_used() -> None:
    with pytest.raises(InputError, match=r"hierarchy_loss_weight is 0\.5: it needs --hierarchy"):
        objective_of(tiny(), hierarchy_loss_weight=0.5)
    with pytest.raises(InputError, match=r"hierarchy_loss_weight is -1: give a number >= 0"):
        HierarchyOptions(hierarchy_loss_weight=-1)
