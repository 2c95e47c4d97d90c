"""Logits of many labels, a part at a time, against the plain forward pass."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sct_hf import SCTForMultiLabelClassification
from sct_hf.model.vocabulary_sct import Vocabulary
from sct_hf.variants.known_labels import SCTWithKnownLabels

FIELDS = {
    "plain": {},
    "two layers": {"encoder_layers": 2},
    "sharp plans": {"temperature": 0.003},
    "prototypes": {"label_prototypes": True},
    "prototypes, labels of every familiarity": {"label_prototypes": True, "familiarity_threshold": 0.1},
}


def others(model: SCTForMultiLabelClassification, count: int, seed: int = 1) -> Vocabulary:
    """A vocabulary of other labels."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, model.config.label_embedding_size, generator=generator)
    width = model.backbone.num_features
    prototypes = torch.randn(count, width, generator=generator) if model.config.label_prototypes else None
    return model.vocabulary(embeddings, prototypes)


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("size", [1, 4, 11, 50])
@torch.no_grad()
def test_logits_are_those_of_the_plain_forward_pass(make_model, fields, size) -> None:
    model = make_model(scorer="label", **fields)
    pixels, vocabulary = torch.randn(2, 3, 64, 96), others(model, 11)
    wanted = model(pixels, vocabulary=vocabulary).logits
    found = model.score_in_parts(pixels, vocabulary=vocabulary, size=size)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_many_parts_are_added_up_in_full_precision(make_model) -> None:
    """In half precision the rounding of hundreds of parts would be several times that of one pass over all labels."""
    model = make_model(scorer="label")
    for weight in model.scorer.parameters():
        weight.mul_(3)  # so that what the plan brings regions matters
    features, vocabulary = torch.randn(2, model.backbone.num_features, 4, 4), others(model, 1000)
    exact = model(backbone_features=features, vocabulary=vocabulary).logits
    with torch.autocast("cpu", torch.bfloat16):
        whole = model(backbone_features=features, vocabulary=vocabulary).logits
        parts = model.score_in_parts(backbone_features=features, vocabulary=vocabulary, size=2)
    assert (parts - exact).abs().mean() <= 1.2 * (whole - exact).abs().mean()


@torch.no_grad()
def test_own_labels_and_backbone_features(make_model) -> None:
    model = make_model(scorer="label")
    features = torch.randn(2, model.backbone.num_features, 2, 3)
    wanted = model(backbone_features=features).logits
    found = model.score_in_parts(backbone_features=features, vocabulary=model.vocabulary(), size=2)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_parents_are_raised_to_their_children(make_model) -> None:
    model = make_model(scorer="label")
    first, *rest = model.config.label_names
    model.set_hierarchy({name: [first] for name in rest})
    features = torch.randn(8, model.backbone.num_features, 2, 3)
    wanted = model(backbone_features=features).logits
    found = model.score_in_parts(backbone_features=features, vocabulary=model.vocabulary(), size=2)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert (found[:, :1] >= found).all()


@torch.no_grad()
def test_a_score_depends_on_the_other_labels_by_the_plan_alone(make_model) -> None:
    model, pixels = make_model(scorer="label"), torch.randn(2, 3, 64, 64)
    vocabulary = others(model, 6)

    def moved() -> bool:
        alone, among_all = (model(pixels, vocabulary=part).logits[:, :2] for part in (vocabulary[:2], vocabulary))
        return not torch.allclose(alone, among_all, atol=1e-5)

    assert moved()
    model.scorer.label_proj.weight.zero_()  # what the plan brings regions
    assert not moved()


class Largest(TorchDispatchMode):
    """Notes the most elements that a tensor has which an operation makes."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.most = max(self.most, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize("prototypes", [True, False])
def test_ten_thousand_labels_in_the_memory_of_a_few(make_model, prototypes) -> None:
    model = make_model(scorer="label", label_prototypes=prototypes)
    pixels = torch.randn(2, 3, 64, 64)

    @torch.no_grad()
    def most(count: int, size: int | None = None) -> int:
        vocabulary = others(model, count)
        with Largest() as largest:
            if size is None:
                logits = model(pixels, vocabulary=vocabulary).logits
            else:
                logits = model.score_in_parts(pixels, vocabulary=vocabulary, size=size)
        assert logits.shape == (2, count)
        return largest.most

    config = model.config
    widest = model.backbone.num_features if prototypes else config.label_embedding_size
    # Prototypes and text are given, a row a label; a dispatched view of them counts with the whole storage.
    assert most(10_000, size=100) <= max(10_000 * widest, most(100))
    assert most(10_000) >= 2 * 10_000 * config.hidden_size


def test_what_cannot_be_scored_in_parts_is_refused(make_model) -> None:
    pixels = torch.randn(1, 3, 64, 64)
    linear = make_model()
    with pytest.raises(ValueError, match=r"size=2 cannot be used: .*scorer='label'"):
        linear.score_in_parts(pixels, vocabulary=linear.vocabulary(), size=2)
    known = make_model(SCTWithKnownLabels, scorer="label")  # attention between labels needs all of them
    with pytest.raises(ValueError, match="size=2 cannot be used"):
        known.score_in_parts(pixels, vocabulary=known.vocabulary(), size=2)
    model = make_model(scorer="label")
    with pytest.raises(ValueError, match="size=0 cannot be used: give one >= 1"):
        model.score_in_parts(pixels, vocabulary=model.vocabulary(), size=0)
