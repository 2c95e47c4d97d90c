"""Checkpoints of version 0.1: what still loads, and what is refused by name with the remedy."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageClassification

from sct_hf import PeerConfig, SCTConfig, SCTForMultiLabelClassification
from sct_hf.own_checkpoint import own_checkpoint
from sct_hf.variants.known_labels import SCTWithKnownLabels
from sct_hf.variants.label_graph import SCTWithLabelGraph
from tests.model.conformance import assert_same_tensors, images
from tests.model.tiny import LABELS, tiny_config

STRUCTURE = "sct_hf 0.1 .* or retrain"
TRAINING = "remove it from config.json, scores stay the same.*train --help"
# Of version 0.1: the default of each field that is gone, another value, and the remedy that an error names for it.
RETIRED: dict[str, tuple[Any, Any, str]] = {
    "projection_norm": (True, False, STRUCTURE),
    "normalize_label_embeddings": (True, False, STRUCTURE),
    "map_input": ("features", "context", STRUCTURE),
    "map_pooling": ("mean", "max", STRUCTURE),
    "fuse_map_scores": (True, False, STRUCTURE),
    "label_pooling": (True, False, STRUCTURE),
    "aligned_features": (True, False, STRUCTURE),
    "guidance": ("prior", "detached", STRUCTURE),
    "learn_temperature": (True, False, STRUCTURE),
    "prototype_temperature": (0.05, 0.1, "fixed since 0.3.* sct_hf 0.2 .* or retrain"),
    "prototype_scale": (0.5, 0.7, "fixed since 0.3.* sct_hf 0.2 .* or retrain"),
    "label_interaction": (False, True, "known_labels"),
    "label_states": (False, True, "SCTWithKnownLabels"),
    "label_graph": (False, True, "SCTWithLabelGraph"),
    "known_share_max": (0.75, 0.5, TRAINING),
    "contrast_loss_weight": (0.0, 0.3, TRAINING),
    "contrast_temperature": (0.1, 0.2, TRAINING),
    "erasing_loss_weight": (0.0, 0.4, TRAINING),
    "erasing_share": (0.2, 0.3, TRAINING),
    "label_losses": (None, {"positive_weight": [1.0, 2.0, 3.0]}, TRAINING),
    "hierarchy_loss_weight": (0.0, 0.5, TRAINING),
}
DEFAULTS = {name: default for name, (default, _, _) in RETIRED.items()}


def rewrite(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def as_of_old(folder: Path, **values: Any) -> None:
    """Write a checkpoint's configuration as version 0.1 wrote it, a plain SCT with the fields of that time."""
    config = json.loads((folder / "config.json").read_text())
    config["label_text"] = config.pop("text_recipe")
    config |= {"model_type": "sct", "architectures": ["SCTForMultiLabelClassification"]}
    (folder / "config.json").write_text(json.dumps(config | DEFAULTS | values))


def refused(name: str, other: Any, remedy: str) -> Any:
    shown = str(other).split("[")[0].replace("{", ".")
    return pytest.raises(Exception, match=rf"{name}=.?{shown}.* cannot be used: .*{remedy}")


@pytest.mark.parametrize("name", RETIRED)
def test_another_value_of_a_field_that_is_gone_is_refused_by_name(make_model, tmp_path: Path, name: str) -> None:
    default, other, remedy = RETIRED[name]
    values = tiny_config().to_dict()
    with refused(name, other, remedy):
        tiny_config(**{name: other})
    with refused(name, other, remedy):
        SCTConfig.from_dict(values | {name: other})
    make_model().save_pretrained(tmp_path)
    rewrite(tmp_path, **{name: other})
    for load in (AutoConfig, SCTForMultiLabelClassification, AutoModelForImageClassification):
        with refused(name, other, remedy):
            load.from_pretrained(tmp_path)
    rewrite(tmp_path, **{name: default})
    config = SCTForMultiLabelClassification.from_pretrained(tmp_path).config
    assert not hasattr(config, name)
    assert name not in config.to_dict()


def test_every_field_that_is_gone_is_known() -> None:
    assert set(SCTConfig.retired_fields) == set(RETIRED)
    assert not set(RETIRED) & set(SCTConfig.__dataclass_fields__)
    for name in ("label_losses", "hierarchy_loss_weight"):
        _, other, remedy = RETIRED[name]
        with refused(name, other, remedy):
            PeerConfig(**{name: other}, num_labels=3)


def test_an_old_checkpoint_gives_the_same_scores(make_model, tmp_path: Path) -> None:
    model = make_model(scorer="label", text_recipe={"encoder": "by hand", "words": LABELS})
    model.save_pretrained(tmp_path)
    as_of_old(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(loaded) is SCTForMultiLabelClassification
    assert loaded.config.text_recipe == {"encoder": "by hand", "words": LABELS}
    assert_same_tensors(loaded, model)
    loaded.save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "config.json").read_text())
    assert not saved.keys() & {*RETIRED, "label_text"}
    assert saved["text_recipe"] == {"encoder": "by hand", "words": LABELS}
    other = SCTForMultiLabelClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert other.config.text_recipe is None  # it was of the former labels


def test_a_recipe_by_its_former_name_is_one_of_a_peers_too() -> None:
    assert PeerConfig(label_text={"encoder": "by hand"}, num_labels=3).text_recipe == {"encoder": "by hand"}


def test_the_checkpoint_of_the_repository(tmp_path: Path) -> None:
    model, info = AutoModelForImageClassification.from_pretrained(own_checkpoint(), output_loading_info=True)
    assert not any(info.values())
    assert model.config.text_recipe["encoder"]
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert not saved.keys() & {*RETIRED, "label_text"}
    assert_same_tensors(AutoModelForImageClassification.from_pretrained(tmp_path), model)


# Former switches that are variants now


def test_an_old_checkpoint_with_a_label_graph(make_model, tmp_path: Path) -> None:
    model = make_model(SCTWithLabelGraph)
    model.observe_targets(torch.tensor([[1, 1, 0], [1, 0, 1], [0, 1, 1]]))
    torch.nn.init.normal_(model.sct.label_messages.weight)
    model.save_pretrained(tmp_path)
    as_of_old(tmp_path, label_graph=True)
    with refused("label_graph", True, "load it by SCTWithLabelGraph"):
        AutoModelForImageClassification.from_pretrained(tmp_path)
    loaded, info = SCTWithLabelGraph.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert loaded.sct.label_graph.count_nonzero() == 6
    assert_same_tensors(loaded, model)
    assert_becomes_a_variant(loaded, tmp_path / "again")


@pytest.mark.parametrize("share", [0.75, 0.5])
def test_an_old_checkpoint_with_label_states(make_model, tmp_path: Path, share: float) -> None:
    model = make_model(SCTWithKnownLabels)
    model.save_pretrained(tmp_path)
    as_of_old(tmp_path, label_interaction=True, label_states=True, known_share_max=share)
    with refused("label_(states|interaction)", True, "known_labels"):
        AutoModelForImageClassification.from_pretrained(tmp_path)
    loaded, info = SCTWithKnownLabels.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert_same_tensors(loaded, model)
    known = torch.tensor([[1, -1, -1], [-1, 0, -1]])
    torch.testing.assert_close(loaded(images(), known=known).logits, model(images(), known=known).logits)
    assert_becomes_a_variant(loaded, tmp_path / "again")


def assert_becomes_a_variant(model: Any, folder: Path) -> None:
    """Saved again it is loaded as the variant that it is, with none of the former fields."""
    model.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    assert not saved.keys() & {*RETIRED, "label_text"}
    again = AutoModelForImageClassification.from_pretrained(folder)
    assert type(again) is type(model)
    assert_same_tensors(again, model)


def test_label_attention_without_states_is_refused_where_its_weights_would_be_lost(make_model, tmp_path: Path) -> None:
    make_model(SCTWithLabelGraph).save_pretrained(tmp_path)
    as_of_old(tmp_path, label_graph=True, label_interaction=True)
    with refused("label_interaction", True, "known_labels"):
        SCTWithLabelGraph.from_pretrained(tmp_path)


def test_label_attention_alone_scores_as_the_variant_told_nothing(
    make_model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """States that such a checkpoint lacks are drawn, and have no part where nothing is known."""
    model = make_model(SCTWithKnownLabels)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["sct.label_states.embeddings"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    as_of_old(tmp_path, label_interaction=True)
    with caplog.at_level(logging.WARNING):
        loaded, info = SCTWithKnownLabels.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == {"sct.label_states.embeddings"}
    torch.testing.assert_close(loaded(images()).logits, model(images()).logits)
