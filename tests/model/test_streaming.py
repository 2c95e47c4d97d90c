"""Logits of many labels, a part at a time, against the plain forward pass."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sct_hf import SCTForMultiLabelClassification

FIELDS = {
    "plain": {},
    "no plan in the scores": {"aligned_features": False},
    "no label pooling, map's maximum, no fusion": {
        "label_pooling": False,
        "map_pooling": "max",
        "fuse_map_scores": False,
    },
    "map of the context, no guidance": {"map_input": "context", "guidance": "none", "encoder_layers": 2},
    "sharp plans": {"temperature": 0.003},
    "prototypes": {"label_prototypes": True, "prototype_temperature": 0.2},
}


def text(model: SCTForMultiLabelClassification, count: int, seed: int = 1) -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, model.config.label_embedding_size, generator=generator)
    wide = model.backbone.num_features
    prototypes = torch.randn(count, wide, generator=generator) if model.config.label_prototypes else None
    return {"label_embeddings": embeddings, "label_prototypes": prototypes}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("labels_at_once", [1, 4, 11, 50])
def test_logits_are_those_of_the_plain_forward_pass(make_model, fields, labels_at_once) -> None:
    model = make_model(scorer="label", **fields)
    pixels, labels = torch.randn(2, 3, 64, 96), text(model, 11)
    with torch.no_grad():
        wanted = model(pixels, **labels).logits
        found = model(pixels, **labels, labels_at_once=labels_at_once)
    torch.testing.assert_close(found.logits, wanted, rtol=1e-4, atol=1e-5)
    assert found.to_tuple() == (found.logits,)


def test_own_labels_and_backbone_features(make_model) -> None:
    model = make_model(scorer="label")
    features = torch.randn(2, model.backbone.num_features, 2, 3)
    with torch.no_grad():
        wanted = model(backbone_features=features).logits
        found = model(backbone_features=features, labels_at_once=2).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_parents_are_raised_to_their_children(make_model) -> None:
    model = make_model(scorer="label")
    first, *rest = model.config.label_names
    model.set_hierarchy({name: [first] for name in rest})
    features = torch.randn(8, model.backbone.num_features, 2, 3)
    with torch.no_grad():
        wanted = model(backbone_features=features).logits
        found = model(backbone_features=features, labels_at_once=2).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert (found[:, :1] >= found).all()


def test_without_the_plan_a_score_does_not_depend_on_the_other_labels(make_model) -> None:
    pixels = torch.randn(2, 3, 64, 64)
    for aligned, same in ((False, True), (True, False)):
        model = make_model(scorer="label", aligned_features=aligned)
        labels = text(model, 6)["label_embeddings"]
        with torch.no_grad():
            alone = model(pixels, label_embeddings=labels[:2]).logits
            among_all = model(pixels, label_embeddings=labels).logits[:, :2]
        assert torch.allclose(alone, among_all, atol=1e-5) == same


class Largest(TorchDispatchMode):
    """Notes the most elements that a tensor has which an operation makes."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.most = max(self.most, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


def test_ten_thousand_labels_in_the_memory_of_a_few(make_model) -> None:
    model = make_model(scorer="label", label_prototypes=True)
    pixels = torch.randn(2, 3, 64, 64)

    def most(count: int, **options: int) -> int:
        labels = text(model, count)
        with torch.no_grad(), Largest() as largest:
            logits = model(pixels, **labels, **options).logits
        assert logits.shape == (2, count)
        return largest.most

    wide = model.backbone.num_features
    # Prototypes and text are given, a row a label; a dispatched view of them counts with the whole storage.
    assert most(10_000, labels_at_once=100) <= max(10_000 * wide, most(100))
    assert most(10_000) >= 2 * 10_000 * wide


def test_what_cannot_be_streamed_is_refused(make_model) -> None:
    pixels = torch.randn(1, 3, 64, 64)
    with pytest.raises(ValueError, match="scorer='linear'"):
        make_model()(pixels, labels_at_once=2)
    model = make_model(scorer="label", label_interaction=True)
    with pytest.raises(ValueError, match="label_interaction=True"):
        model(pixels, labels_at_once=2)
    model = make_model(scorer="label")
    with pytest.raises(ValueError, match="labels_at_once=0"):
        model(pixels, labels_at_once=0)
    for asked in ({"output_maps": True}, {"labels": torch.zeros(1, 3)}, {"output_label_features": True}):
        with pytest.raises(ValueError, match="gives logits alone"):
            model(pixels, labels_at_once=2, **asked)
