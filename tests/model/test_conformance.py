"""What transformers asks of its own models, over a convolutional network, a ViT and a Swin."""

import copy
import inspect
import pickle
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig
from transformers.utils import ModelOutput

from sct_hf import SCTConfig, SCTForMultiLabelClassification, SCTModel
from sct_hf.variants.known_labels import SCTWithKnownLabels
from sct_hf.variants.label_graph import SCTWithLabelGraph
from tests.model.conformance import assert_same_tensors, images, over_backbones, tiny_model
from tests.model.tiny import LABELS, tiny_config

EVERYTHING = {"scorer": "label", "label_prototypes": True, "encoder_layers": 2, "seen_labels": ["horse", "cow"]}
MODELS = [SCTForMultiLabelClassification, SCTWithKnownLabels, SCTWithLabelGraph]
over_models = pytest.mark.parametrize("model_class", MODELS)


def head_only(model: SCTForMultiLabelClassification) -> dict[str, Tensor]:
    """All tensors of the state but those that nothing can make up for."""
    kept = ("backbone.", "_embeddings", "label_graph", "label_prototypes")
    return {key: value for key, value in model.state_dict().items() if not any(part in key for part in kept)}


def rewrite(folder, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


# Construction


@over_models
@over_backbones
def test_the_same_seed_gives_the_same_model(kind: str, model_class: type[Any]) -> None:
    one, other = (tiny_model(kind, model_class, **EVERYTHING) for _ in range(2))
    assert_same_tensors(one, other)
    torch.manual_seed(0)
    from_config = model_class._from_config(one.config)
    torch.manual_seed(0)
    assert_same_tensors(from_config, model_class(one.config))


@over_models
@over_backbones
def test_no_tensor_is_made_on_another_device_than_asked_for(kind: str, model_class: type[Any]) -> None:
    config = tiny_model(kind, model_class, **EVERYTHING).config
    with torch.device("meta"):
        model = model_class(config)
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}
    for name, module in model.named_modules():  # a tensor that is neither is left behind by .to()
        assert not any(isinstance(value, Tensor) for value in vars(module).values()), name


def test_the_forward_pass_takes_images_first() -> None:
    for kind in (SCTModel, SCTForMultiLabelClassification):
        assert next(iter(inspect.signature(kind.forward).parameters.values())).name == "self"
        assert list(inspect.signature(kind.forward).parameters)[1] == kind.main_input_name == "pixel_values"


def test_one_configuration_serves_all_parts() -> None:
    model = tiny_model("cnn")
    assert model.config is model.sct.config
    assert model.base_model is model.sct
    assert not model._tied_weights_keys
    weights = list(model.parameters())
    assert len({weight.data_ptr() for weight in weights}) == len(weights)


# Configuration


def test_every_field_of_a_configuration_survives_a_round_trip(tmp_path) -> None:
    config = tiny_config(thresholds=[0.2, 0.5, 0.9], text_recipe={"encoder": "by hand"}, image_size=[64, 96])
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is SCTConfig
    assert loaded.to_dict() == config.to_dict() | {"_name_or_path": str(tmp_path)}
    assert SCTConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
    assert (loaded.thresholds, loaded.label_names) == ([0.2, 0.5, 0.9], LABELS)
    model = SCTForMultiLabelClassification(config)
    model.save_pretrained(tmp_path)
    assert SCTForMultiLabelClassification.from_pretrained(tmp_path).config.thresholds == [0.2, 0.5, 0.9]


def test_a_configuration_of_defaults_and_of_a_number_of_labels() -> None:
    assert SCTConfig().problem_type == "multi_label_classification"
    config = SCTConfig(num_labels=7)
    assert (config.num_labels, len(config.label_names), len(config.label2id)) == (7, 7, 7)


# Weights that a checkpoint lacks, has otherwise, or has beyond


@over_models
def test_missing_weights_of_the_head_are_drawn_as_in_a_new_model(tmp_path, model_class: type[Any]) -> None:
    model = tiny_model("cnn", model_class, **EVERYTHING)
    model.save_pretrained(tmp_path)
    missing = head_only(model).keys()
    rewrite(tmp_path, lambda weights: [weights.pop(key) for key in missing])
    loaded, info = model_class.from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["missing_keys"]) == missing
    state, fresh = loaded.state_dict(), model_class(model.config).state_dict()
    for key, value in model.state_dict().items():
        if key not in missing:
            assert torch.equal(state[key], value), key
            continue
        drawn, expected = state[key].double(), fresh[key].double()
        if expected.unique().numel() == 1:  # zeros of biases, ones of norms, the temperature
            assert torch.equal(drawn, expected), key
            continue
        # Two samples of one distribution: mean and spread within five standard errors of each other.
        spread, count = expected.std(), expected.numel()
        assert abs(drawn.mean() - expected.mean()) < 5 * spread * (2 / count) ** 0.5, key
        assert abs(drawn.std() / spread - 1) < 5 / count**0.5, key
        assert not torch.equal(drawn, expected), key


def test_buffers_are_the_same_for_the_same_seed_however_a_model_is_made(tmp_path) -> None:
    """Also where a checkpoint lacks weights, or has those of other labels: then what is drawn is drawn alike."""
    model = tiny_model("cnn", **EVERYTHING)
    model.save_pretrained(tmp_path)
    missing = head_only(model).keys()
    rewrite(tmp_path, lambda weights: [weights.pop(key) for key in missing])

    def loaded(**options: Any) -> SCTForMultiLabelClassification:
        torch.manual_seed(5)
        return SCTForMultiLabelClassification.from_pretrained(tmp_path, **options)

    def buffers(found: SCTForMultiLabelClassification) -> list[Tensor]:
        return [found.sct.label_embeddings, found.sct.seen_embeddings, found.sct.label_prototypes]

    assert_same_tensors(loaded(), loaded())
    for mine, theirs in zip(buffers(loaded()), buffers(model), strict=True):
        assert torch.equal(mine, theirs)
    for fields in ({"num_labels": 5}, {"num_labels": 5, "seen_labels": ["horse", "cow", "sheep"]}):
        one, other = (loaded(**fields, ignore_mismatched_sizes=True) for _ in range(2))
        assert_same_tensors(one, other)
        assert one.sct.label_embeddings.shape == (5, 12)
        assert one.sct.label_embeddings.std().item() == pytest.approx(1, abs=0.3)  # drawn, as in a new model
        assert one.sct.label_prototypes.count_nonzero() == 0
        assert one.sct.seen_embeddings.shape == (len(one.config.seen_labels), 12)
        assert one.sct.seen_embeddings.isfinite().all()
        same = "seen_labels" not in fields
        assert torch.equal(one.sct.seen_embeddings, model.sct.seen_embeddings if same else torch.zeros(3, 12))


@pytest.mark.parametrize("scorer", ["linear", "label"])
def test_another_number_of_labels_on_a_trained_model(tmp_path, scorer: str) -> None:
    model = tiny_model("cnn", scorer=scorer, thresholds=[0.2, 0.5, 0.9], text_recipe={"encoder": "by hand"})
    model.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        SCTForMultiLabelClassification.from_pretrained(tmp_path, num_labels=5)
    loaded, info = SCTForMultiLabelClassification.from_pretrained(
        tmp_path, num_labels=5, ignore_mismatched_sizes=True, output_loading_info=True
    )
    changed = {key for key, *_ in info["mismatched_keys"]}
    parts = ("scorer", "pooled_scorer", "sct.semantic_map")
    scores = {f"{part}.scores.proj.{kind}" for part in parts for kind in ("weight", "bias")}
    assert changed == {"sct.label_embeddings"} | (scores if scorer == "linear" else set())
    for key, value in model.state_dict().items():
        assert (key in changed) or torch.equal(loaded.state_dict()[key], value), key
    assert (loaded.config.thresholds, loaded.config.text_recipe) == (None, None)
    names = list("abcde")
    loaded.set_labels(names, torch.randn(5, 12))
    assert loaded(images()).logits.shape == (2, 5)
    assert loaded(images()).logits.isfinite().all()
    named = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    again = SCTForMultiLabelClassification.from_pretrained(tmp_path, **named, ignore_mismatched_sizes=True)
    assert (again.config.label_names, again.config.thresholds) == (names, None)


def test_weights_beyond_the_models_are_named_and_left_out(tmp_path) -> None:
    model = tiny_model("cnn")
    model.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda weights: weights.update({"scorer.stray.weight": torch.zeros(2)}))
    loaded, info = SCTForMultiLabelClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["unexpected_keys"]) == {"scorer.stray.weight"}
    assert_same_tensors(loaded, model)


def test_a_base_model_becomes_a_classifier_with_a_new_scorer(tmp_path) -> None:
    model = tiny_model("cnn")
    model.sct.save_pretrained(tmp_path)
    loaded, info = SCTForMultiLabelClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["missing_keys"]) == {key for key in model.state_dict() if not key.startswith("sct.")}
    assert_same_tensors(loaded.sct, model.sct)


# Outputs


@over_backbones
def test_evaluation_is_independent_of_the_rest_of_the_batch(kind: str) -> None:
    model, pixels = tiny_model(kind), images(4)
    together = model(pixels).logits
    alone = torch.cat([model(image[None]).logits for image in pixels])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    pixels[1:] *= 100
    torch.testing.assert_close(model(pixels).logits[0], together[0], rtol=0, atol=1e-5)


@over_backbones
def test_evaluation_is_deterministic_and_training_is_random(kind: str) -> None:
    model, pixels = tiny_model(kind, dropout=0.5), images()
    assert torch.equal(model(pixels).logits, model(pixels).logits)
    model.train()
    trained = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        trained.append(model(pixels).logits)
    assert torch.equal(trained[0], trained[1])
    assert not torch.allclose(trained[0], trained[2], atol=1e-3)


@pytest.mark.parametrize("base", [False, True])
def test_a_tuple_holds_what_the_named_output_holds(targets, base: bool) -> None:
    model, pixels = tiny_model("cnn", label_prototypes=True, feature_levels=2), images(3)
    if base:
        model, wanted = model.sct, {"output_hidden_states": True}
    else:
        wanted = {"output_maps": True, "output_hidden_states": True, "labels": targets}
    named = model(pixels, **wanted)
    assert isinstance(named, ModelOutput)
    assert None not in named.values()
    assert len(named) == len(type(named).__dataclass_fields__)  # everything that can be asked for
    plain = model(pixels, **wanted, return_dict=False)
    assert type(plain) is tuple
    torch.testing.assert_close(plain, named.to_tuple(), rtol=0, atol=0, equal_nan=True)


def timms_features(model: SCTForMultiLabelClassification, pixels: Tensor, kind: str) -> Tensor:
    """The regions (B, P, D₀) that timm gives, row by row of the image: by `forward_features` of a model of its own."""
    config = model.config
    options = {} if kind == "cnn" else {"img_size": config.input_size}
    timms = timm.create_model(config.backbone, num_classes=0, **options, **(config.backbone_kwargs or {})).eval()
    timms.load_state_dict(model.backbone.timm_model.state_dict())
    features = timms.forward_features(pixels)
    if kind == "cnn":
        batch, width, *_ = features.shape  # channels first
        return features.reshape(batch, width, -1).mT
    if kind == "vit":
        return features[:, timms.num_prefix_tokens :]
    batch, *_, width = features.shape  # channels last
    return features.reshape(batch, -1, width)


@over_backbones
@pytest.mark.parametrize("encoder_layers", [0, 2])
@torch.no_grad()
def test_hidden_states_are_the_regions_before_and_after_each_layer(kind: str, encoder_layers: int) -> None:
    """The first are timm's own features, projected and normed; on an image that is no square."""
    model = tiny_model(kind, encoder_layers=encoder_layers, image_size=[64, 96])
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    taken: list[Tensor] = []
    for layer in model.sct.encoder:
        layer.register_forward_hook(lambda _, __, output: taken.append(output))
    states = model(pixels, output_hidden_states=True).hidden_states
    assert len(states) == encoder_layers + 1
    projected = timms_features(model, pixels, kind) @ model.sct.region_proj.weight.T + model.sct.region_proj.bias
    mean, spread = projected.mean(-1, keepdim=True), projected.var(-1, correction=0, keepdim=True)
    torch.testing.assert_close(states[0], (projected - mean) / (spread + 1e-5).sqrt(), rtol=1e-4, atol=1e-4)
    for state, output in zip(states[1:], taken, strict=True):
        assert torch.equal(state, output)
    base = model.sct(pixels, output_hidden_states=True)
    assert torch.equal(base.last_hidden_state, states[-1])
    assert all(torch.equal(one, other) for one, other in zip(base.hidden_states, states, strict=True))
    assert model(pixels).hidden_states is None


@over_backbones
def test_hidden_states_and_their_gradients(kind: str) -> None:
    model = tiny_model(kind, encoder_layers=2)
    model.config.output_hidden_states = True
    output = model(images())
    assert len(output.hidden_states) == 3
    for state in output.hidden_states:
        state.retain_grad()
    output.logits.sum().backward()
    assert all(state.grad.abs().sum() > 0 for state in output.hidden_states)


@over_backbones
@pytest.mark.parametrize("way", ["copy", "pickle", "state"])
def test_a_copy_gives_the_same_scores(kind: str, way: str, tmp_path) -> None:
    model, pixels = tiny_model(kind), images()
    with torch.no_grad():
        expected = model(pixels).logits
        if way == "state":
            torch.save(model.state_dict(), tmp_path / "state.pt")
            other = SCTForMultiLabelClassification(model.config).eval()
            other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        else:
            other = copy.deepcopy(model) if way == "copy" else pickle.loads(pickle.dumps(model))
        torch.testing.assert_close(other(pixels).logits, expected, rtol=0, atol=1e-6)


# Training


@over_backbones
def test_training_reduces_the_loss_and_reaches_every_parameter(kind: str, targets) -> None:
    model = tiny_model(kind, dropout=0.0, scorer_dropout=0.0, aligned_dropout=0.0).train()
    before = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)
    losses = []
    for _ in range(12):
        loss = model(images(3), labels=targets).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    frozen = [
        name
        for (name, weight), old in zip(model.named_parameters(), before.parameters(), strict=True)
        if torch.equal(weight, old)
    ]
    assert not frozen


@over_backbones
def test_activation_checkpointing_changes_no_gradient(kind: str, targets) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(kind, dropout=0.0, scorer_dropout=0.0, aligned_dropout=0.0).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(images(3), labels=targets).loss.backward()
        gradients.append({key: p.grad for key, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for key in gradients[0]:
        torch.testing.assert_close(gradients[1][key], gradients[0][key], rtol=1e-4, atol=1e-6)


@over_backbones
def test_activation_checkpointing_recomputes_until_switched_off(kind: str, targets) -> None:
    model, calls = tiny_model(kind).train(), []
    model.sct.encoder[0].ffn_in.register_forward_pre_hook(lambda *_: calls.append("head"))
    block = next(module for name, module in model.backbone.named_modules() if name.endswith("blocks.0"))
    inner = next(module for module in block.modules() if isinstance(module, torch.nn.Linear | torch.nn.Conv2d))
    inner.register_forward_pre_hook(lambda *_: calls.append("backbone"))
    counts = []
    for switch in (model.activation_checkpointing_enable, model.activation_checkpointing_disable):
        switch()
        calls.clear()
        model(images(3), labels=targets).loss.backward()
        counts.append((calls.count("backbone"), calls.count("head")))
    assert counts == [(2, 2), (1, 1)]
