"""Parents never below children: the constraint and its loss against slow references, and what a checkpoint keeps."""

import math
import re
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModel, AutoModelForImageClassification

from sct_hf import PeerConfig, PeerForMultiLabelClassification, SCTForMultiLabelClassification
from sct_hf.model.hierarchy_sct import LabelHierarchy, ancestors
from tests.model.conformance import assert_same_after_loading
from tests.model.tiny import tiny_config

NAMES = list("abcdef")
DIAMOND = {"a": ["c", "d"], "b": ["d"], "c": ["e"], "d": ["e"]}  # f is alone
HEADS = ["sct", "linear"]


def tiny(head: str = "sct", **fields: Any) -> SCTForMultiLabelClassification | PeerForMultiLabelClassification:
    """A model of labels a to f in evaluation mode, of seed 0."""
    torch.manual_seed(0)
    fields = {"backbone": "test_resnet", "id2label": dict(enumerate(NAMES))} | fields
    if head == "sct":
        model = SCTForMultiLabelClassification(tiny_config(**fields))
    else:
        model = PeerForMultiLabelClassification(PeerConfig(head=head, image_size=64, **fields))
    model(torch.randn(4, 3, 64, 64))  # moves the running statistics off 0 and 1
    return model.eval()


def images() -> Tensor:
    return torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def at_or_below(label: str, parents: dict[str, list[str]]) -> set[str]:
    """By walking down, one step after the other."""
    found = {label}
    while True:
        more = {child for child, above in parents.items() if found & set(above)} - found
        if not more:
            return found
        found |= more


@st.composite
def hierarchies(draw: st.DrawFn) -> dict[str, list[str]]:
    """A hierarchy of a to f without circles: each label may lie below those of a random order that come later."""
    order = draw(st.permutations(NAMES))
    parents = {
        name: draw(st.lists(st.sampled_from(order[place + 1 :]), unique=True, max_size=3))
        for place, name in enumerate(order[:-1])
    }
    return {name: above for name, above in parents.items() if above} or {order[0]: [order[1]]}


@given(hierarchies())
def test_ancestors_by_walking_down(parents: dict[str, list[str]]) -> None:
    for label, above in ancestors(parents).items():
        assert sorted(above) == sorted(up for up in NAMES if up != label and label in at_or_below(up, parents))


@settings(deadline=None)
@given(hierarchies(), st.integers(0, 100))
def test_logits_are_the_maxima_of_a_slow_reference(parents: dict[str, list[str]], seed: int) -> None:
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(seed))
    found = LabelHierarchy(parents, NAMES)(logits)
    for row in range(3):
        for label, name in enumerate(NAMES):
            expected = max(logits[row, NAMES.index(other)].item() for other in at_or_below(name, parents))
            assert found[row, label].item() == expected


@settings(deadline=None)
@given(hierarchies(), st.lists(st.sampled_from([1, 0, -1, math.nan]), min_size=6, max_size=6))
def test_what_known_labels_imply_by_a_slow_reference(parents: dict[str, list[str]], row: list[float]) -> None:
    hierarchy, known = LabelHierarchy(parents, NAMES), torch.tensor([row, [-1.0] * 6])
    said = dict(zip(NAMES, row, strict=True))
    present = {up for up in NAMES if any(said[other] == 1 for other in at_or_below(up, parents))}
    absent = {name for up in NAMES if said[up] == 0 for name in at_or_below(up, parents)}
    if present & absent:
        with pytest.raises(ValueError, match="known_labels say that") as told:
            hierarchy.implied(known)
        up, below = re.findall("'([^']*)'", str(told.value))
        assert (said[up], said[below]) == (0, 1)
        assert below in at_or_below(up, parents)
        return
    expected = [float(name in present) - float(name not in present | absent) for name in NAMES]
    assert hierarchy.implied(known).tolist() == [expected, [-1.0] * 6]


def test_gradient_goes_to_the_highest_alone() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0, -1.0, 0.5]], requires_grad=True)
    LabelHierarchy(DIAMOND, NAMES)(logits)[0, NAMES.index("e")].backward()
    assert logits.grad.tolist() == [[1, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("head", HEADS)
def test_a_models_logits_are_raised_in_evaluation_only(head: str) -> None:
    flat, raised = tiny(head), tiny(head, label_parents=DIAMOND)
    raised.load_state_dict(flat.state_dict())
    assert flat.state_dict().keys() == raised.state_dict().keys()
    assert flat.hierarchy is None
    pixels = images()
    logits, coherent = flat(pixels).logits, raised(pixels).logits
    for child, parents in DIAMOND.items():
        for parent in parents:
            assert (coherent[:, NAMES.index(parent)] >= coherent[:, NAMES.index(child)]).all()
    assert torch.equal(coherent, LabelHierarchy(DIAMOND, NAMES)(logits))
    assert not torch.equal(coherent, logits)
    for model in (flat, raised):
        model.train()
        torch.manual_seed(2)
        model.out = model(pixels, labels=torch.ones(5, 6))
    assert torch.equal(flat.out.logits, raised.out.logits)
    assert torch.equal(flat.out.loss, raised.out.loss)


@pytest.mark.parametrize("head", HEADS)
def test_a_checkpoint_keeps_it(head: str, tmp_path) -> None:
    model = tiny(head, label_parents=DIAMOND)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.label_parents == DIAMOND
    assert_same_after_loading(model, loaded, images())
    renamed = AutoModelForImageClassification.from_pretrained(tmp_path, id2label=dict(enumerate("ABCDEF")))
    assert renamed.config.label_parents == {"A": ["C", "D"], "B": ["D"], "C": ["E"], "D": ["E"]}
    assert_same_after_loading(model, renamed, images())
    other = AutoModelForImageClassification.from_pretrained(tmp_path, num_labels=2, ignore_mismatched_sizes=True)
    assert (other.config.label_parents, other.hierarchy) == (None, None)


def test_the_model_without_scores_passes_it_on(tmp_path) -> None:
    model = tiny(label_parents=DIAMOND)
    model.save_pretrained(tmp_path / "whole")
    AutoModel.from_pretrained(tmp_path / "whole").save_pretrained(tmp_path / "base")
    assert AutoModel.from_pretrained(tmp_path / "base").config.label_parents == DIAMOND


def test_set_hierarchy() -> None:
    model = tiny()
    before = model(images()).logits
    model.set_hierarchy(DIAMOND)
    assert torch.equal(model(images()).logits, LabelHierarchy(DIAMOND, NAMES)(before))
    with pytest.raises(ValueError, match="names 'z', which is no label"):
        model.set_hierarchy({"a": ["z"]})
    assert model.config.label_parents == DIAMOND
    model.set_hierarchy(None)
    assert torch.equal(model(images()).logits, before)
    assert (model.config.label_parents, model.hierarchy) == (None, None)


def test_new_labels_have_the_hierarchy_given_with_them() -> None:
    model = tiny(label_parents=DIAMOND, scorer="label")
    text = torch.randn(3, 12)
    plain = tiny(scorer="label")
    plain.load_state_dict(model.state_dict())
    others = model.vocabulary(text)
    assert torch.equal(model(images(), vocabulary=others).logits, plain(images(), vocabulary=others).logits)
    with pytest.raises(ValueError, match="names 'a', which is no label"):
        model.set_labels(["x", "y", "z"], text, label_parents={"a": ["y"]})
    assert model.config.label_names == NAMES
    model.set_labels(["x", "y", "z"], text, label_parents={"x": ["y"]})
    logits = model(images()).logits
    plain.set_labels(["x", "y", "z"], text)
    assert torch.equal(logits, LabelHierarchy({"x": ["y"]}, ["x", "y", "z"])(plain(images()).logits))
    model.set_labels(["x", "y", "z"], text)
    assert model.config.label_parents is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label_parents": {"a": ["z"]}}, "names 'z', which is no label"),
        ({"label_parents": {"z": ["a"]}}, "names 'z', which is no label"),
        ({"label_parents": {"a": []}}, "gives 'a' the parents"),
        ({"label_parents": {"a": ["b", "b"]}}, "gives 'a' the parents"),
        ({"label_parents": {"a": ["a"]}}, "cycle, a → a"),
        ({"label_parents": {"a": ["b"], "b": ["c"], "c": ["a"]}}, "cycle, (a → b → c → a|b → c → a → b|c → a → b)"),
        (
            {"label_parents": DIAMOND, "thresholds": [0.5, 0.5, 0.5, 0.5, 0.6, 0.5]},
            "'e' needs one of 0.5 or less, that of '[abcd]' below it",
        ),
    ],
)
def test_a_hierarchy_that_cannot_be_used(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, StrictDataclassError), match=message):
        tiny_config(id2label=dict(enumerate(NAMES)), **fields)


def test_thresholds_that_rise_downwards_are_taken() -> None:
    config = tiny_config(
        id2label=dict(enumerate(NAMES)), label_parents=DIAMOND, thresholds=[0.6, 0.5, 0.4, 0.4, 0.4, 0.9]
    )
    assert config.thresholds[4] == 0.4


def test_one_graph_compiled() -> None:
    torch.compiler.reset()
    model = tiny(label_parents=DIAMOND)
    maps = torch.randn(3, model.backbone.num_features, 2, 2)
    expected = model(backbone_features=maps)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(backbone_features=maps)
    torch.testing.assert_close(compiled.logits, expected.logits, rtol=0, atol=1e-5)


def test_half_precision_and_a_device_map(tmp_path) -> None:
    model = tiny(label_parents=DIAMOND)
    model.save_pretrained(tmp_path)
    half = AutoModelForImageClassification.from_pretrained(tmp_path, dtype=torch.bfloat16, device_map={"": "cpu"})
    logits = half(images().bfloat16()).logits
    assert (logits[:, 4:5] >= logits[:, :4]).all()
    assert half.hierarchy.above.dtype == torch.int64
