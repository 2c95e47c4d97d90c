"""The half of the label features that depends on weights alone: computed once, and again after any change."""

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from timm.utils import ModelEmaV3

from sct_hf import SCTForMultiLabelClassification
from sct_hf.model.hierarchy_sct import mix_classes
from tests.model.tiny import LABELS

Make = Callable[..., SCTForMultiLabelClassification]


@contextmanager
def counted(model: SCTForMultiLabelClassification) -> Iterator[list[int]]:
    calls: list[int] = []
    handle = model.sct.semantic_features.text_proj.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    handle.remove()


def logits(model: SCTForMultiLabelClassification) -> torch.Tensor:
    maps = torch.randn(2, model.backbone.num_features, 2, 2, generator=torch.Generator().manual_seed(0))
    return model(backbone_features=maps.to(model.sct.label_embeddings.dtype)).logits


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_computed_once_where_no_gradient_is_recorded(make_model: Make, mode: Callable) -> None:
    model = make_model()
    with counted(model) as calls:
        expected = logits(model)
        assert logits(model).requires_grad
        assert len(calls) == 2
        with mode():
            for _ in range(3):
                assert torch.equal(logits(model), expected)
        assert len(calls) == 3
        logits(model).sum().backward()  # what is kept has no graph, and is not used where one is needed
        assert model.sct.semantic_features.text_proj.weight.grad.abs().sum() > 0


def step(model: SCTForMultiLabelClassification) -> None:
    with torch.enable_grad():
        logits(model).sum().backward()
    torch.optim.AdamW(model.parameters(), lr=0.1).step()


def change_in_place(model: SCTForMultiLabelClassification) -> None:
    model.sct.semantic_features.text_proj.bias.add_(1)


def replace_data_twice(model: SCTForMultiLabelClassification) -> None:
    """The second replacement would come to lie where the first weights lay, were they not kept."""
    weight = model.sct.semantic_features.text_proj.weight
    for _ in range(2):
        weight.data = weight.data + 1


def half_and_back(model: SCTForMultiLabelClassification) -> None:
    model.bfloat16().float()


def load(model: SCTForMultiLabelClassification) -> None:
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})


def assign(model: SCTForMultiLabelClassification) -> None:
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()}, assign=True)


def hidden_write(model: SCTForMultiLabelClassification) -> None:
    model.sct.semantic_features.text_proj.weight.data.mul_(2)
    model.eval()


CHANGES = {
    "optimizer": step,
    "in place": change_in_place,
    "data": replace_data_twice,
    "dtype": half_and_back,
    "load": load,
    "assign": assign,
    "set_labels": lambda model: model.set_labels(LABELS, torch.randn(3, 12)),
    "embeddings": lambda model: model.sct.label_embeddings.mul_(torch.randn(12)),
    "mode": hidden_write,
}


@pytest.mark.parametrize("name", CHANGES)
@torch.no_grad()
def test_never_out_of_date(make_model: Make, name: str) -> None:
    model = make_model()
    before = logits(model)
    CHANGES[name](model)
    after = logits(model)
    model.sct.semantic_features._kept_text.clear()
    assert torch.equal(after, logits(model))
    assert not torch.equal(after, before)


@torch.no_grad()
def test_averaged_weights_are_followed(make_model: Make) -> None:
    model = make_model()
    average = ModelEmaV3(model, decay=0.5)
    before = logits(average.module)
    change_in_place(model)
    average.update(model, step=1)
    after = logits(average.module)
    assert not torch.equal(after, before)
    average.module.eval()
    assert torch.equal(logits(average.module), after)


@torch.no_grad()
def test_autocast_is_told_apart(make_model: Make) -> None:
    model = make_model()
    plain = logits(model)
    with torch.autocast("cpu", torch.bfloat16):
        low = logits(model)
        assert torch.equal(logits(model.eval()), low)
    assert torch.equal(logits(model), plain)
    assert not torch.equal(low, plain)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@torch.no_grad()
def test_copies_begin_empty_and_states_hold_nothing_of_it(make_model: Make, copied: Callable) -> None:
    model = make_model()
    names = model.state_dict().keys()
    before = logits(model)
    assert model.state_dict().keys() == names
    twin = copied(model)
    assert twin.sct.semantic_features._kept_text._kept is None
    change_in_place(twin)
    assert not torch.equal(logits(twin), before)
    assert torch.equal(logits(model), before)


@torch.no_grad()
def test_weights_without_storage_are_left_alone(make_model: Make) -> None:
    model = make_model().to("meta")
    for _ in range(2):
        maps = torch.empty(2, model.backbone.num_features, 2, 2, device="meta")
        assert model(backbone_features=maps).logits.shape == (2, 3)
    assert model.sct.semantic_features._kept_text._kept is None


def test_an_exported_program_holds_the_weights_and_not_what_came_of_them(make_model: Make) -> None:
    model = make_model()
    maps = torch.randn(2, model.backbone.num_features, 2, 2)
    with torch.no_grad():
        expected = model(backbone_features=maps).logits
        program = torch.export.export(model, (), {"backbone_features": maps})
    assert "sct.semantic_features.text_proj.weight" in program.state_dict
    torch.testing.assert_close(program.module()(backbone_features=maps).logits, expected)


@torch.no_grad()
def test_prototypes_of_classes_follow_their_classes(make_model: Make) -> None:
    model = make_model(label_prototypes=True, class_count=5)
    model.sct.label_prototypes.uniform_()
    model.sct.class_vectors.normal_()
    with torch.inference_mode():
        first = model.vocabulary()
        assert model.vocabulary() is first
    with torch.enable_grad():  # a tensor of inference mode would break the backward pass
        maps = torch.randn(2, model.backbone.num_features, 2, 2)
        model.train()(backbone_features=maps, labels=torch.ones(2, 3)).loss.backward()
        assert model.vocabulary() is model.vocabulary()
    for changed in (model.sct.label_prototypes, model.sct.class_vectors):
        before = model.vocabulary().prototypes
        changed[0].mul_(-2)
        after = model.vocabulary().prototypes
        assert not torch.equal(after, before)
        assert torch.equal(after, mix_classes(model.sct.label_prototypes, model.sct.class_vectors))
