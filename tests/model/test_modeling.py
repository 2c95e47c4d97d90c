"""The model class: shapes, dtypes, gradients, labels, and what bad input says."""

import math

import pytest
import torch

from sct_hf import SCTForMultiLabelClassification
from tests.model.tiny import LABELS, tiny_config


@pytest.mark.parametrize("size", [64, (64, 96)])
def test_output_shapes_and_what_is_given_on_request(make_model, size) -> None:
    model = make_model()
    pixels = torch.randn(2, 3, *((size, size) if isinstance(size, int) else size))
    grid = (2, 2) if size == 64 else (2, 3)
    plain = model(pixels)
    assert plain.logits.shape == (2, 3)
    assert plain.to_tuple() == (plain.logits, plain.branch_logits)
    assert [(name, branch.shape) for name, branch in plain.branch_logits.items()] == [
        (name, (2, 3)) for name in ("region", "map", "pooled")
    ]
    full = model(pixels, output_maps=True, output_hidden_states=True)
    for name in ("semantic_map", "transport_plan", "backward_plan", "region_scores"):
        assert getattr(full, name).shape == (2, 3, *grid), name
    torch.testing.assert_close(full.transport_plan.sum(1), torch.ones(2, *grid))
    torch.testing.assert_close(full.backward_plan.sum((2, 3)), torch.ones(2, 3))
    assert model.sct(pixels).label_features.shape == (2, 3, 32)
    assert [state.shape for state in full.hidden_states] == [(2, math.prod(grid), 32)] * 2


@pytest.mark.parametrize("scorer", ["linear", "label"])
def test_gradients_reach_every_trainable_parameter(targets, scorer: str) -> None:
    torch.manual_seed(0)
    config = tiny_config(
        scorer=scorer,
        encoder_layers=2,
        backbone="test_resnet",
        backbone_kwargs={"zero_init_last": False},  # zeroed norms would pass no gradient in the first step
    )
    model = SCTForMultiLabelClassification(config)
    model(torch.randn(3, 3, 64, 64), labels=targets).loss.backward()
    # The softmax of attention is blind to a constant of its keys, so their bias has no gradient by construction.
    blind = {name for name, _ in model.named_parameters() if name.endswith("key.bias")}
    # A bias before batch statistics are subtracted has none either.
    blind.add("sct.semantic_features.text_proj.bias")
    without = {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    }
    assert without <= blind


def test_the_temperature_starts_where_the_configuration_says_and_is_trained(targets) -> None:
    model = SCTForMultiLabelClassification(tiny_config(temperature=0.3))
    assert model.sct.log_temperature.exp().item() == pytest.approx(0.3)
    model(torch.randn(3, 3, 64, 64), labels=targets).loss.backward()
    assert model.sct.log_temperature.grad.abs() > 0


def test_projected_regions_are_normed(make_model) -> None:
    pixels = torch.randn(2, 3, 64, 64)
    model = make_model(encoder_layers=0)
    features = model.backbone(pixels).flatten(2).transpose(1, 2)
    expected = features @ model.sct.region_proj.weight.T + model.sct.region_proj.bias
    regions = model.sct(pixels).last_hidden_state
    torch.testing.assert_close(regions.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    spread = expected.var(-1, correction=0)
    torch.testing.assert_close(regions.var(-1, correction=0), spread / (spread + 1e-5))


def test_dropout_of_the_backbones_features(make_model) -> None:
    model = make_model(encoder_layers=0, hidden_size=None, input_dropout=0.9)  # regions are the features themselves
    features = torch.ones(1, model.backbone.num_features, 10, 10)
    evaluated = model.sct(backbone_features=features).last_hidden_state
    assert torch.equal(evaluated, torch.ones_like(evaluated))
    trained = model.train().sct(backbone_features=features).last_hidden_state
    assert trained.unique().tolist() == pytest.approx([0, 10])
    assert (trained > 0).float().mean() == pytest.approx(0.1, abs=0.01)  # 25,600 draws: five standard errors


def test_scale_of_the_label_vectors_does_not_matter(make_model) -> None:
    model, pixels = make_model(), torch.randn(2, 3, 64, 64)
    before = model(pixels).logits
    model.set_labels(LABELS, 7 * model.sct.label_embeddings)
    torch.testing.assert_close(model(pixels).logits, before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_finite_and_near(make_model, targets, dtype: torch.dtype) -> None:
    model = make_model()
    pixels = torch.randn(3, 3, 64, 64)
    expected = model(pixels).logits
    with torch.autocast("cpu", dtype):
        mixed = model(pixels, labels=targets, output_maps=True)
    model = model.to(dtype)
    low = model(pixels.to(dtype), labels=targets, output_maps=True)
    for out in (mixed, low):
        assert out.logits.dtype == out.loss.dtype == out.transport_plan.dtype == torch.float32
        assert out.loss.isfinite()
        torch.testing.assert_close(out.logits, expected, rtol=0.05, atol=0.05)


def test_the_backbones_map_can_stand_in_for_images(make_model, targets) -> None:
    model, pixels = make_model(), torch.randn(3, 3, 64, 64)
    features = model.backbone(pixels)
    assert features.shape == (3, model.backbone.num_features, 2, 2)
    cached = model(backbone_features=features, labels=targets)
    assert torch.equal(cached.loss, model(pixels, labels=targets).loss)


def test_soft_and_unknown_targets(make_model) -> None:
    model, pixels = make_model(), torch.randn(2, 3, 64, 64)
    nan = model(pixels, labels=torch.tensor([[0.3, torch.nan, 1], [0, 1, torch.nan]]))
    minus = model(pixels, labels=torch.tensor([[0.3, -1, 1], [0, 1, -1]]))
    assert torch.equal(nan.loss, minus.loss)
    unknown = model(pixels, labels=torch.full((2, 3), -1.0))
    assert unknown.loss.item() == 0


def test_class_independent_scorer_takes_any_number_of_labels(make_model) -> None:
    model, pixels = make_model(scorer="label"), torch.randn(2, 3, 64, 64)
    before, embeddings = model(pixels).logits, model.sct.label_embeddings.clone()
    names = ["zebra crossing", *LABELS, "bicycle helmet"]
    model.set_labels(names, torch.cat((torch.randn(1, 12), embeddings, torch.randn(1, 12))), {"encoder": "by hand"})
    after = model(pixels).logits
    assert after.shape == (2, 5)
    assert model.config.id2label == dict(enumerate(names))
    assert model.config.label2id == {name: i for i, name in enumerate(names)}
    assert model.config.text_recipe == {"encoder": "by hand"}
    # Each region's mass is shared among more labels, so the old ones' scores move, but their maps do not.
    assert not torch.equal(after[:, 1:4], before)


def test_semantic_map_of_a_label_is_independent_of_other_labels(make_model) -> None:
    model, pixels = make_model(scorer="label"), torch.randn(2, 3, 64, 64)
    before = model(pixels, output_maps=True).semantic_map
    model.config.thresholds = [0.1, 0.2, 0.3]
    model.set_labels(["dog"], model.sct.label_embeddings[:1].clone())
    assert model.config.thresholds is None
    torch.testing.assert_close(model(pixels, output_maps=True).semantic_map, before[:, :1])


def test_set_labels_survives_a_round_trip(make_model, tmp_path) -> None:
    model = make_model()
    embeddings = torch.randn(3, 12)
    model.set_labels(["a", "b", "c"], embeddings, {"encoder": "by hand"})
    model.save_pretrained(tmp_path)
    loaded = SCTForMultiLabelClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded.sct.label_embeddings, embeddings)
    assert loaded.config.label2id == {"a": 0, "b": 1, "c": 2}
    assert loaded.config.text_recipe == {"encoder": "by hand"}


@pytest.mark.parametrize(
    ("names", "shape", "message"),
    [
        (["a", "b", "c"], (2, 12), r"embeddings have shape \(2, 12\), but \(3, 12\)"),
        (["a", "b", "c"], (3, 7), "label_embedding_size=12"),
        (["a", "a", "c"], (3, 12), r"names repeat \['a'\]"),
        (["a", "b"], (2, 12), "scorer='label'"),
    ],
)
def test_set_labels_refuses(make_model, names, shape, message) -> None:
    model = make_model()
    before = model.config.to_dict()
    with pytest.raises(ValueError, match=message):
        model.set_labels(names, torch.zeros(shape))
    assert model.config.to_dict() == before


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(2, 4), r"labels have shape \(2, 4\), but \(2, 3\)"),
        (torch.zeros(2, dtype=torch.long), r"labels have shape \(2,\)"),
        (torch.tensor([[0, 1, 2.0], [0, 0, 0]]), "targets contain 2.0"),
        (torch.tensor([[0, 1, -0.5], [0, 0, 0]]), "targets contain -0.5"),
    ],
)
def test_targets_are_checked(make_model, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_model()(torch.randn(2, 3, 64, 64), labels=labels)


def test_inputs_are_checked(make_model) -> None:
    model = make_model()
    with pytest.raises(ValueError, match="either pixel_values or backbone_features"):
        model()
    with pytest.raises(ValueError, match=r"pixel_values have shape \(3, 64, 64\)"):
        model(torch.randn(3, 64, 64))
    with pytest.raises(ValueError, match=r"backbone_features have shape \(2, 7, 2, 2\)"):
        model(backbone_features=torch.randn(2, 7, 2, 2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone": "resnet1O1"}, "resnet101"),
        ({"image_size": 0}, "image_size=0"),
        ({"image_size": [448]}, r"image_size=\[448\]"),
        ({"hidden_size": 30}, "multiple of 4"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"rho": 1.5}, "rho=1.5"),
        ({"scorer": "dot"}, "scorer"),
        ({"gamma_neg": -1.0}, "gamma_neg=-1.0"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"id2label": {0: "a", 1: "a"}}, "label2id"),
        ({"thresholds": [0.5, 0.5]}, "each of the 3 labels"),
        ({"thresholds": [0.5, 0.5, 1.5]}, "thresholds"),
    ],
)
def test_configuration_is_checked(fields, message) -> None:
    with pytest.raises(Exception, match=message):  # strict dataclasses wrap the ValueError
        SCTForMultiLabelClassification(tiny_config(**fields))
