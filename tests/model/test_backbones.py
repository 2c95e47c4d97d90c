"""Backbones of every family: feature maps, round trips through save and load, and sizes they cannot take."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForImageClassification

from sct_hf import InputError, SCTForMultiLabelClassification, SCTModel, build_model, encode_labels
from sct_hf.model.backbone_sct import TimmBackbone
from tests.model.conformance import assert_same_after_loading, assert_same_tensors
from tests.model.tiny import LABELS, tiny_config

FAMILIES = {
    "test_resnet": (64, 96),
    "regnety_002": (64, 96),
    "tf_efficientnet_lite0": (64, 96),
    "convnext_atto": (64, 96),
    "test_vit": (64, 96),
    "deit_tiny_distilled_patch16_224": (64, 96),
    "vit_tiny_r_s16_p8_224": (64, 96),
    "swin_tiny_patch4_window7_224": (64, 96),
}


def with_backbone(name: str, **fields) -> SCTForMultiLabelClassification:
    torch.manual_seed(0)
    return SCTForMultiLabelClassification(tiny_config(backbone=name, image_size=list(FAMILIES[name]), **fields))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_a_map_and_survives_a_round_trip(name: str, tmp_path) -> None:
    model = with_backbone(name).eval()
    pixels = torch.randn(2, 3, *FAMILIES[name])
    features = model.backbone(pixels)
    reduction = 16 if name in ("test_vit", "deit_tiny_distilled_patch16_224") else 32
    assert features.shape == (2, model.backbone.num_features, 64 // reduction, 96 // reduction)

    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert type(loaded) is SCTForMultiLabelClassification
    assert_same_after_loading(model, loaded, pixels)

    base = AutoModel.from_pretrained(tmp_path).eval()
    assert type(base) is SCTModel
    assert_same_tensors(model.sct, base)


def test_tokens_become_the_map_that_timm_pools() -> None:
    """Row-major order: the map of a ViT equals timm's own intermediate features reshaped to NCHW."""
    backbone = TimmBackbone(tiny_config(backbone="test_vit", image_size=[64, 96])).eval()
    pixels = torch.randn(1, 3, 64, 96)
    expected = backbone.timm_model.forward_intermediates(pixels, indices=1, norm=True, intermediates_only=True)[0]
    torch.testing.assert_close(backbone(pixels), expected)


def test_the_map_equals_timms_features_for_a_cnn() -> None:
    backbone = TimmBackbone(tiny_config(backbone="test_resnet")).eval()
    timms = timm.create_model("test_resnet").eval()
    timms.load_state_dict(backbone.timm_model.state_dict(), strict=False)
    pixels = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(backbone(pixels), timms.forward_features(pixels))


def test_post_init_leaves_timms_initialisation_alone() -> None:
    torch.manual_seed(3)
    expected = timm.create_model("test_efficientnet", num_classes=0, global_pool="").state_dict()
    torch.manual_seed(3)
    got = SCTForMultiLabelClassification(tiny_config()).backbone.timm_model.state_dict()
    assert all(torch.equal(got[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    "name",
    ["efficientvim_m1", "coat_tiny", "crossvit_9_240", "volo_d1_224", "inception_next_atto", "efficientvit_b0"],
)
def test_a_family_that_gives_no_single_map_is_refused_by_name(name: str) -> None:
    size = timm.get_pretrained_cfg(name).input_size[-1]
    text = encode_labels(LABELS, "random:12")
    with pytest.raises(InputError, match=rf"backbone='{name}' cannot be used, since timm makes no single feature map"):
        build_model(name, LABELS, image_size=size, label_vectors=text, hidden_size=32)


@pytest.mark.parametrize("key", ["sct.backbone.timm_model.conv_stem.weight", "sct.label_embeddings"])
def test_a_checkpoint_without_what_cannot_be_made_up_is_refused(make_model, tmp_path, key: str) -> None:
    make_model().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[key]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=key):
        SCTForMultiLabelClassification.from_pretrained(tmp_path)


def test_a_fixed_size_backbone_names_the_size_it_was_made_for() -> None:
    model = with_backbone("test_vit")
    with pytest.raises(ValueError, match="pixel_values are 32×32, but test_vit was made for 64×96"):
        model(torch.randn(1, 3, 32, 32))
    dynamic = with_backbone("test_vit", backbone_kwargs={"dynamic_img_size": True})
    assert dynamic.backbone(torch.randn(1, 3, 96, 64)).shape[-2:] == (6, 4)
