"""What the model takes and how much of it there is: arguments, fields, capabilities through wrappers."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, PreTrainedConfig
from transformers.utils.generic import find_labels

from sct_hf import PeerConfig, PeerForMultiLabelClassification, SCTConfig, SCTForMultiLabelClassification
from sct_hf.model import modeling_sct
from sct_hf.model.backbone_sct import capability
from sct_hf.variants.known_labels import SCTWithKnownLabels
from sct_hf.variants.label_graph import SCTWithLabelGraph
from tests.model.conformance import images

Make = Callable[..., Any]
SCT_MODELS = [SCTForMultiLabelClassification, SCTWithKnownLabels, SCTWithLabelGraph]
MODELS = [*SCT_MODELS, PeerForMultiLabelClassification]


def make_peer() -> PeerForMultiLabelClassification:
    config = PeerConfig(backbone="test_resnet", image_size=64, id2label=dict(enumerate("abc")))
    return PeerForMultiLabelClassification(config).eval()


# How much of it there is


def own_fields(config: type[PreTrainedConfig]) -> set[str]:
    return {field.name for field in fields(config)} - {field.name for field in fields(PreTrainedConfig)}


def test_a_configuration_has_few_fields() -> None:
    assert len(own_fields(SCTConfig)) <= 32
    for model in SCT_MODELS:  # variants add none
        assert own_fields(model.config_class) == own_fields(SCTConfig)


def body_lines(function: Callable[..., Any]) -> int:
    """Lines of a function without its docstring, blank ones and comments of their own not counted."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    first, *_ = definition.body
    docstring = range(first.lineno, (first.end_lineno or 0) + 1)
    assert isinstance(first, ast.Expr)
    lines = enumerate(source.splitlines(), start=1)
    code = [line.strip() for number, line in lines if number >= definition.lineno and number not in docstring]
    return len([line for line in code if line and not line.startswith("#")])


def test_the_forward_pass_fits_on_a_screen() -> None:
    forward = SCTForMultiLabelClassification.forward
    assert len(inspect.signature(forward).parameters) <= 7
    assert body_lines(forward) <= 25


def test_few_files_travel_and_none_is_long() -> None:
    files = [path for path in Path(modeling_sct.__file__).parent.glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= 10
    for path in files:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.name


# What it takes


@pytest.mark.parametrize("model", MODELS)
def test_targets_are_the_only_argument_that_trainer_takes_for_one(model: type) -> None:
    assert find_labels(model) == ["labels"]


@pytest.mark.parametrize("kind", SCT_MODELS)
@pytest.mark.parametrize(
    "name", ["label_embeddings", "known_labels", "output_branches", "guidance", "no_such_argument"]
)
def test_arguments_that_there_are_not_are_refused(make_model: Make, kind: type, name: str) -> None:
    model = make_model(kind)
    for part in (model, model.sct):
        with pytest.raises(TypeError, match=name):
            part(images(), **{name: torch.zeros(2, 3)})


def test_a_peer_refuses_arguments_that_there_are_not() -> None:
    with pytest.raises(TypeError, match="vocabulary"):
        make_peer()(images(), vocabulary=None)


@pytest.mark.parametrize("kind", SCT_MODELS)
def test_the_number_of_labels_is_one_of_the_models_attributes(make_model: Make, kind: type, tmp_path: Path) -> None:
    model = make_model(kind, scorer="label")
    assert model.num_labels == model.sct.num_labels == 3
    model.set_labels(["dog", "horse"], torch.randn(2, 12))
    assert model.num_labels == model.config.num_labels == model(images()).logits.shape[1] == 2
    model.save_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path).num_labels == 2  # type: ignore[attr-defined]
    assert make_peer().num_labels == 3


# Vocabularies


@pytest.mark.parametrize("prototypes", [False, True])
def test_a_slice_of_a_vocabulary_is_one_of_a_part_of_the_labels(make_model: Make, prototypes: bool) -> None:
    model = make_model(scorer="label", label_prototypes=prototypes)
    rows = torch.randn(5, model.backbone.num_features) if prototypes else None
    vocabulary = model.vocabulary(torch.randn(5, 12), rows)
    own = model.vocabulary()
    assert (len(vocabulary), len(own)) == (5, 3)
    assert (vocabulary.own, own.own, own[:2].own) == (False, True, False)
    for k in (slice(1, 3), slice(None, None, 2), slice(4, None)):
        part = vocabulary[k]
        assert len(part) == len(range(5)[k])
        for name in ("embeddings", "centred", "prototypes", "familiarity"):
            whole = getattr(vocabulary, name)
            assert (whole is None) == (getattr(part, name) is None) == (not prototypes and name[0] in "pf"), name
            if whole is not None:
                assert torch.equal(getattr(part, name), whole[k]), name
    # What is learned of a label's map depends on itself alone.
    whole, part = (model(images(), vocabulary=v, output_maps=True).semantic_map for v in (vocabulary, vocabulary[1:3]))
    torch.testing.assert_close(part, whole[:, 1:3])


def test_the_own_labels_as_others_score_the_same(make_model: Make) -> None:
    model = make_model(scorer="label")
    vocabulary = model.vocabulary(model.sct.label_embeddings)
    torch.testing.assert_close(model(images(), vocabulary=vocabulary).logits, model(images()).logits)
    with pytest.raises(AttributeError):  # frozen
        vocabulary.own = True


# Capabilities


CAPABILITIES = ("gives_maps", "takes_new_labels", "scores_in_parts", "takes_known_labels")
CAN: list[tuple[type, dict[str, Any], tuple[bool, ...]]] = [
    (SCTForMultiLabelClassification, {}, (True, False, False, False)),
    (SCTForMultiLabelClassification, {"scorer": "label"}, (True, True, True, False)),
    (SCTWithLabelGraph, {"scorer": "label"}, (True, True, True, False)),
    (SCTWithKnownLabels, {"scorer": "label"}, (True, True, False, True)),
]


def told(model: Any) -> tuple[bool, ...]:
    return tuple(capability(model, name) for name in CAPABILITIES)


@pytest.mark.parametrize(("kind", "values", "can"), CAN)
def test_capabilities_are_seen_through_wrappers(make_model: Make, kind: type, values: dict, can: tuple) -> None:
    model = make_model(kind, **values)
    assert told(model) == can
    compiled = torch.compile(model, backend="eager")
    assert type(compiled) is not type(model)
    assert told(compiled) == can


@pytest.mark.parametrize(("kind", "values", "can"), CAN)
def test_capabilities_are_seen_through_adapters(make_model: Make, kind: type, values: dict, can: tuple) -> None:
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(make_model(kind, **values), peft.LoraConfig(r=2, target_modules=["region_proj"]))
    assert told(adapted) == can
    assert told(torch.compile(adapted, backend="eager")) == can


def test_other_models_can_do_none_of_it(make_model: Make) -> None:
    assert told(make_peer()) == (False,) * 4
    assert told(torch.nn.Linear(2, 2)) == (False,) * 4
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(make_peer(), peft.LoraConfig(r=2, target_modules=["classifier"]))
    assert told(adapted) == (False,) * 4


# Dtypes


@pytest.mark.parametrize("kind", SCT_MODELS)
def test_the_temperature_stays_in_full_precision(make_model: Make, kind: type, tmp_path: Path) -> None:
    model = make_model(kind, temperature=0.07)
    model.save_pretrained(tmp_path)
    half = torch.bfloat16
    for loaded in (
        AutoModelForImageClassification.from_config(model.config, dtype=half),
        AutoModelForImageClassification.from_pretrained(tmp_path, dtype=half),
        kind.from_pretrained(tmp_path, dtype=half),  # type: ignore[attr-defined]
    ):
        assert type(loaded) is kind
        assert loaded.sct.log_temperature.dtype == torch.float32
        assert torch.equal(loaded.sct.log_temperature, model.sct.log_temperature)
        assert {part.dtype for name, part in loaded.named_parameters() if "log_temperature" not in name} == {half}
