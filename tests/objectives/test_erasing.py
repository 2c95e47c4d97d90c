"""Object erasing: what is erased, what of it is learnt from, and what it leaves alone."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sct_hf import PeerConfig, PeerForMultiLabelClassification, SCTForMultiLabelClassification
from sct_hf.errors import InputError
from sct_hf.objectives import erasing
from sct_hf.objectives.erasing import erase_regions, statistics_kept
from tests.objectives.making import losses_of, objective_of

LABELS = torch.tensor([[1.0, 0, 0], [0, 1, -1], [0, 0, math.nan], [0, 0.6, 0]])


@pytest.mark.parametrize(("share", "count"), [(0.25, 3), (0.01, 1), (0.5, 6), (0.99, 11)])
def test_the_regions_that_the_drawn_label_attends_to_most_are_zero(share: float, count: int) -> None:
    features, plan = torch.rand(4, 5, 3, 4) + 1, torch.rand(4, 3, 3, 4)
    rest, targets = erase_regions(features, plan, LABELS, share)
    for row, label in ((0, 0), (1, 1)):  # one label each: nothing is left to chance
        order = plan[row, label].flatten().argsort(descending=True)
        erased = rest[row].flatten(1)
        assert (erased[:, order[:count]] == 0).all()
        assert torch.equal(erased[:, order[count:]], features[row].flatten(1)[:, order[count:]])
    # Without a certain label nothing is erased, and nothing is learnt.
    assert torch.equal(rest[2:], features[2:])
    assert targets[:2].tolist() == LABELS[:2].tolist()
    assert (targets[2:] == -1).all()


def test_every_label_of_a_image_is_drawn_as_often() -> None:
    torch.manual_seed(0)
    plan = torch.zeros(3000, 4, 2, 2)
    plan[:, torch.arange(4), torch.arange(4) // 2, torch.arange(4) % 2] = 1  # label k attends to region k
    labels = torch.tensor([1.0, 0, 1, 1]).expand(3000, 4)
    rest, _ = erase_regions(torch.ones(3000, 1, 2, 2), plan, labels, 0.25)
    times = (rest == 0).flatten(1).sum(0)
    assert times[1] == 0
    assert times.sum() == 3000
    assert (times[[0, 2, 3]] - 1000).abs().max() < 120


def test_one_region_is_never_erased() -> None:
    features = torch.ones(1, 2, 1, 1)
    assert torch.equal(erase_regions(features, torch.ones(1, 1, 1, 1), torch.ones(1, 1), 0.9)[0], features)


def test_batch_norms_keep_their_statistics_and_still_norm_by_the_batch() -> None:
    norm, values = torch.nn.BatchNorm1d(3), 5 + torch.randn(20, 3)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with statistics_kept(norm):
        found = norm(values)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    torch.testing.assert_close(found, torch.nn.functional.batch_norm(values, None, None, training=True))
    norm(values)
    assert norm.num_batches_tracked == 1
    norm.eval()
    with statistics_kept(norm):
        inside = norm(values)
    assert torch.equal(inside, norm(values))


STILL = {"dropout": 0, "scorer_dropout": 0, "aligned_dropout": 0}
ALL = torch.eye(3)[[0, 1, 2, 0]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What erasing gave: maps and targets, call by call."""
    found = []

    def noted(*args: object) -> tuple[torch.Tensor, torch.Tensor]:
        found.append(erase_regions(*args))
        return found[-1]

    monkeypatch.setattr(erasing, "erase_regions", noted)
    return found


@pytest.mark.parametrize("levels", [1, 2])
def test_it_joins_the_loss(
    make_model: Callable[..., SCTForMultiLabelClassification], given: list, levels: int
) -> None:
    """The further loss is that of the model on the erased map; dropout is off, so that all can be computed again."""
    images = torch.randn(4, 3, 64, 64)
    plain, model = (make_model(**STILL, feature_levels=levels) for _ in range(2))
    assert "erasing" not in losses_of(model, images, ALL)
    assert not given
    statistics = plain.sct.semantic_features.norm
    with torch.no_grad():
        for part in (plain, model):
            part.train()
            part.backbone.eval()
        expected = plain(images, ALL)
        found = losses_of(model, images, ALL, erasing_loss_weight=0.7)
        of_erased = plain(backbone_features=given[0][0], labels=given[0][1]).loss
    assert (given[0][0] == 0).all(1).any()  # a region is erased at every level
    torch.testing.assert_close(found["erasing"], of_erased)
    torch.testing.assert_close(found["loss"], expected.loss + 0.7 * of_erased)
    assert len(given) == 1
    # Only whole images have moved the running statistics.
    assert model.sct.semantic_features.norm.num_batches_tracked == statistics.num_batches_tracked - 1
    torch.testing.assert_close(given[0][0], plain.backbone(images).masked_fill(given[0][0] == 0, 0))


def test_images_with_erased_regions_have_the_other_losses_too(
    make_model: Callable[..., SCTForMultiLabelClassification], given: list
) -> None:
    """Contrast and hierarchy by their weights, settings of each label, but not the loss of erasing itself."""
    model = make_model(**STILL, label_parents={"dog": ["cat"]})
    options = {"contrast_loss_weight": 0.3, "hierarchy_loss_weight": 0.5, "positive_weights": "auto"}
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 0]])
    targets = np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    found = losses_of(model, images, labels, targets=targets, erasing_loss_weight=0.7, **options)
    again = objective_of(model, targets, **options)(given[0][1], 0.0, backbone_features=given[0][0])
    assert list(again) == ["region", "map", "pooled", "transport", "contrast", "hierarchy", "loss"]
    torch.testing.assert_close(found["erasing"], again["loss"])
    weights = {"loss": 0, "map": 0.8, "transport": 0.1, "contrast": 0.3, "hierarchy": 0.5, "erasing": 0.7}
    total = sum(weights.get(name, 1) * value for name, value in found.items())
    torch.testing.assert_close(found["loss"], total)


def test_gradients_reach_backbone_and_head(make_model: Callable[..., SCTForMultiLabelClassification]) -> None:
    model = make_model(aligned_dropout=0).train()
    losses_of(model, torch.randn(3, 3, 64, 64), torch.eye(3), erasing_loss_weight=1.0)["erasing"].backward()
    without = [
        name
        for name, part in model.named_parameters()
        if part.requires_grad and (part.grad is None or not part.grad.any())
    ]
    assert [name for name in without if "bias" not in name] == []


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_erases_nothing_or_all(share: float) -> None:
    with pytest.raises(InputError, match=r"erasing_share is .*: give a number in \(0, 1\)"):
        erasing.ErasingOptions(erasing_share=share)


def test_a_head_without_plans_is_trained_without_it() -> None:
    config = PeerConfig(backbone="test_efficientnet", image_size=64, id2label=dict(enumerate("abc")))
    parts = objective_of(PeerForMultiLabelClassification(config), erasing_loss_weight=0.5).parts
    assert [type(part).__name__ for part in parts] == ["Supervised"]
