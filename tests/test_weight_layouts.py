"""Files of self-supervised training as `--backbone_weights`.

The layouts were read off the methods' own code: `main_dino.py` of DINO, `util/misc.py` of MAE, `main_moco.py` and
`main_lincls.py` of MoCo, the BYOL example of lightly 1.6, and lightly-train 0.18, whose `DinoVisionTransformer` and
exported models were also loaded once and gave the same features.
"""

import copy
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from sct_hf.backbone_weights import load_backbone_weights
from sct_hf.errors import InputError
from sct_hf.weight_layouts import backbone_entries

State = dict[str, Tensor]


def _vit(seed: int, **options: Any) -> Any:
    torch.manual_seed(seed)
    return timm.create_model("test_vit", num_classes=0, global_pool="", **options).eval()


def _resnet() -> Any:
    return timm.create_model("resnet18", layers=(1, 1, 1, 1), num_classes=0, global_pool="").eval()


def _torchvision(seed: int) -> ResNet:
    """A small ResNet of torchvision after some training: no entry is as it was initialised."""
    torch.manual_seed(seed)
    model = ResNet(BasicBlock, [1, 1, 1, 1]).train()
    with torch.no_grad():
        model(torch.randn(8, 3, 64, 64))
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    return model.eval()


def _below(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def _load(backbone: nn.Module, checkpoint: Any, folder: Path, name: str = "w.pth") -> str:
    torch.save(checkpoint, folder / name)
    return load_backbone_weights(backbone, "backbone", str(folder / name)).partition(")")[2]


def _equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def _head() -> State:
    return {"mlp.0.weight": torch.zeros(3, 3), "last_layer.weight_g": torch.zeros(3, 1)}


def test_dino_gives_its_teacher(tmp_path: Path) -> None:
    student, teacher, target = _vit(1), _vit(2), _vit(3)
    optimizer = torch.optim.AdamW(student.parameters())
    checkpoint = {
        "student": _below("module.backbone.", student.state_dict()) | _below("module.head.", _head()),
        "teacher": _below("backbone.", teacher.state_dict()) | _below("head.", _head()),
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "args": Namespace(arch="vit_small", lr=0.0005),
        "dino_loss": {"center": torch.zeros(1, 8)},
        "fp16_scaler": {"scale": 1.0},
    }
    told = _load(target, checkpoint, tmp_path)
    assert _equal(target, teacher)
    assert told == "; its entries teacher.backbone.*; left student, teacher.head, dino_loss"
    del checkpoint["teacher"]
    _load(target, checkpoint, tmp_path)
    assert _equal(target, student)


@pytest.mark.parametrize("registers", [0, 2])
@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("below", ["", "teacher.backbone."])
def test_dinov2(tmp_path: Path, registers: int, chunks: bool, below: str) -> None:
    """The hub's names, and blocks in chunks below the teacher, as training writes them.

    DINOv2 adds the position code of the class token to it, and none to its registers; timm has the sum.
    """
    options: dict[str, Any] = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 4, "num_heads": 2}
    options |= {"num_classes": 0, "global_pool": "", "init_values": 1e-5}
    torch.manual_seed(1)
    source, target = (
        VisionTransformer(**options, reg_tokens=registers, no_embed_class=registers > 0).eval() for _ in range(2)
    )
    with torch.no_grad():
        source.cls_token.normal_()  # drawn near 0, where a norm makes much of rounding
    theirs = dict(source.state_dict())
    if registers:
        theirs["register_tokens"] = theirs.pop("reg_token")
        code = torch.randn(1, 1, 32)
        theirs["cls_token"] = theirs["cls_token"] - code
        theirs["pos_embed"] = torch.cat((code, theirs["pos_embed"]), dim=1)
    if chunks:
        for name in [name for name in theirs if name.startswith("blocks.")]:
            block, rest = name.removeprefix("blocks.").split(".", 1)
            theirs[f"blocks.{int(block) // 2}.{block}.{rest}"] = theirs.pop(name)
    theirs["mask_token"] = torch.zeros(1, 32)
    checkpoint: Any = theirs
    if below:
        checkpoint = {"teacher": _below("backbone.", theirs) | _below("dino_head.", _head())}
    told = _load(target, checkpoint, tmp_path)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(target(images), source(images))
    assert f"{below}mask_token" in told
    assert ("converted by timm pos_embed" in told) == bool(registers)


def test_position_codes_take_the_size_of_the_backbone(tmp_path: Path) -> None:
    source, target = _vit(1), _vit(2, img_size=(192, 224))
    assert _load(target, source.state_dict(), tmp_path) == "; converted by timm pos_embed"
    state = target.state_dict()
    for name, value in source.state_dict().items():
        assert name == "pos_embed" or torch.equal(state[name], value)
    code = timm.layers.resample_abs_pos_embed(source.pos_embed, [12, 14], num_prefix_tokens=1)
    torch.testing.assert_close(state["pos_embed"], code)


def test_mae_gives_its_encoder(tmp_path: Path) -> None:
    source, target = _vit(1), _vit(2)
    decoder = {"mask_token": torch.zeros(1, 1, 8), "decoder_pos_embed": torch.zeros(1, 5, 8)}
    decoder |= {"decoder_embed.weight": torch.zeros(8, 4), "decoder_blocks.0.norm1.weight": torch.zeros(8)}
    checkpoint = {"model": source.state_dict() | decoder, "epoch": 3, "args": Namespace(), "scaler": {"scale": 1.0}}
    told = _load(target, checkpoint, tmp_path)
    assert _equal(target, source)
    assert told == "; left mask_token, decoder_pos_embed, decoder_embed, decoder_blocks"


@pytest.mark.parametrize(
    ("taken", "other"), [("encoder_q", "encoder_k"), ("base_encoder", "momentum_encoder")], ids=["v2", "v3"]
)
def test_moco_gives_the_encoder_that_was_trained(tmp_path: Path, taken: str, other: str) -> None:
    encoders = {other: _torchvision(2), taken: _torchvision(1)}  # whichever comes first
    for encoder in encoders.values():
        encoder.fc = nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 4))  # type: ignore[assignment]
    state = {"module.queue": torch.zeros(4, 8)}
    for name, encoder in encoders.items():
        state |= _below(f"module.{name}.", encoder.state_dict())
    checkpoint = {"epoch": 3, "arch": "resnet18", "state_dict": state, "optimizer": {"state": {}}}
    target = _resnet()
    told = _load(target, checkpoint, tmp_path, "checkpoint_0003.pth.tar")
    _same_features(target, encoders[taken])
    assert told == f"; its entries {taken}.*; left queue, {other}"


def _same_features(ours: nn.Module, theirs: ResNet) -> None:
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = nn.Sequential(*list(theirs.children())[:-2])(images)
        torch.testing.assert_close(ours(images), expected)


def test_lightly_gives_the_backbone_whose_layers_have_numbers(tmp_path: Path) -> None:
    """BYOL of lightly's examples, as Lightning saves it."""
    source, momentum, target = _torchvision(1), _torchvision(2), _resnet()
    parts = {
        "backbone": nn.Sequential(*list(source.children())[:-1]).state_dict(),
        "projection_head": _below("layers.", _head()),
        "prediction_head": _below("layers.", _head()),
        "backbone_momentum": nn.Sequential(*list(momentum.children())[:-1]).state_dict(),
        "projection_head_momentum": _below("layers.", _head()),
    }
    checkpoint = {
        "epoch": 3,
        "global_step": 12,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {name: value for part in parts for name, value in _below(f"{part}.", parts[part]).items()},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
    }
    told = _load(target, checkpoint, tmp_path, "last.ckpt")
    _same_features(target, source)
    assert told == (
        "; its entries backbone.*; left projection_head, prediction_head, backbone_momentum, projection_head_momentum"
    )


def test_lightly_train_exports_are_state_dicts_of_the_model(tmp_path: Path) -> None:
    source, target = _torchvision(1), _resnet()
    _load(target, source.state_dict(), tmp_path, "exported_last.pt")
    _same_features(target, source)
    vit, other = _vit(1), _vit(2)
    _load(other, vit.state_dict(), tmp_path, "exported_last.pt")
    assert _equal(other, vit)


def test_checkpoints_that_pickle_their_model_are_refused_with_a_remedy(tmp_path: Path) -> None:
    """As LightlyTrain's last.ckpt does."""
    model, target = _vit(1), _vit(2)
    before = copy.deepcopy(target)
    checkpoint = {"state_dict": model.state_dict(), "lightly_train": {"models": {"model": model}}}
    with pytest.raises(InputError, match=r"last\.ckpt'.*Only tensors are read: .*exported_models/exported_last\.pt"):
        _load(target, checkpoint, tmp_path, "last.ckpt")
    assert _equal(target, before)


@pytest.mark.parametrize("prefix", ["", "teacher.backbone."])
def test_what_is_missing_in_the_backbone_found_is_named(tmp_path: Path, prefix: str) -> None:
    target = _vit(2)
    before = copy.deepcopy(target)
    state = _below(prefix, _vit(1).state_dict())
    del state[f"{prefix}blocks.0.norm1.weight"]
    with pytest.raises(InputError, match=r"does not fit backbone='backbone': blocks\.0\.norm1\.weight is missing\. "):
        _load(target, state, tmp_path)
    state |= _below(prefix, {"blocks.0.norm1.weight": torch.zeros(64), "neck.weight": torch.zeros(2)})
    with pytest.raises(InputError, match=r"neck\.weight is not part of the backbone"):
        _load(target, state, tmp_path)
    assert _equal(target, before)


_NAMES = st.text("abcxyz_", min_size=1, max_size=6).filter(lambda name: name not in ("fc", "ema"))


@settings(max_examples=25, deadline=None)
@given(st.lists(_NAMES, max_size=3), st.dictionaries(_NAMES, st.lists(_NAMES, min_size=1, max_size=2), max_size=3))
def test_any_prefix_and_anything_beside_it(prefix: list[str], others: dict[str, list[str]]) -> None:
    backbone = timm.create_model("test_resnet", num_classes=0, global_pool="")
    whole = "".join(f"{part}." for part in prefix)
    beside = {".".join(["beside", name, *names]): torch.zeros(1) for name, names in others.items()}
    state = beside | _below(whole, backbone.state_dict())
    found, told = backbone_entries(dict(state), backbone)
    expected = backbone.state_dict() | ({} if whole else beside)
    assert found.keys() == expected.keys()
    assert all(value is state[f"{whole}{name}"] for name, value in found.items())
    assert told.count("left beside") == bool(whole and beside)
