"""Parts of the backbone that stay as they are."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification

from sct_hf.errors import InputError
from sct_hf.training import run
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train
from sct_hf.training.models import new_model, set_train_mode

Tiny = Callable[..., Arguments]
PLAIN = {"augment": "none"}


def test_frozen_backbone_with_and_without_cache(tmp_path: Path, tiny: Tiny) -> None:
    frozen = {"freeze_backbone": True, "cached_views": 1, "cache_dir": tmp_path / "cache", "compare_head": "linear"}
    frozen |= PLAIN
    cached = train(tiny(output_dir=tmp_path / "cached", cache_features=True, **frozen))
    direct = train(tiny(output_dir=tmp_path / "direct", **frozen))
    modes, pixels = ("cached", "direct"), torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for name in ("", "linear"):
        weights, same = (load_file(tmp_path / mode / name / "model.safetensors") for mode in modes)
        for key in weights:
            assert "backbone" not in key or torch.equal(weights[key], same[key])
        # Weights before a batch norm may differ: it takes their gradient away, and Adam moves them by rounding alone.
        models = (AutoModelForImageClassification.from_pretrained(tmp_path / mode / name) for mode in modes)
        with torch.inference_mode():
            of_cached, of_direct = (model.eval()(pixels).logits for model in models)
        torch.testing.assert_close(of_cached, of_direct, rtol=1e-3, atol=1e-3)
    assert cached["num_images"] == direct["num_images"]
    # The second head and the held-out part are served by the maps of the two splits.
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_backbone_learns_unless_frozen(tmp_path: Path, tiny: Tiny) -> None:
    options = {"head": "linear", "epochs": 1, "holdout": 0, "ema_decay": 0}
    train(tiny(output_dir=tmp_path / "free", **options))
    train(tiny(output_dir=tmp_path / "norm", freeze_batch_norm=True, **options))
    train(tiny(output_dir=tmp_path / "frozen", freeze_backbone=True, **options))
    free, norm, frozen = (load_file(tmp_path / name / "model.safetensors") for name in ("free", "norm", "frozen"))
    statistics = [name for name in free if name.endswith("running_mean")]
    filters = [name for name in free if name.endswith("conv1.weight")]
    assert statistics
    assert filters
    for name in statistics:
        assert not torch.equal(free[name], frozen[name])
        assert torch.equal(norm[name], frozen[name])
    for name in filters:
        assert not torch.equal(free[name], frozen[name])
        assert not torch.equal(norm[name], frozen[name])


def test_first_stages_stay_as_they_are(tmp_path: Path, tiny: Tiny) -> None:
    options = {"head": "linear", "epochs": 1, "holdout": 0, "ema_decay": 0}
    train(tiny(output_dir=tmp_path / "run", freeze_stages=2, **options))
    torch.manual_seed(0)
    start = new_model(tiny(head="linear"), ["red", "green", "blue", "white"], Accelerator(cpu=True)).state_dict()
    found = load_file(tmp_path / "run" / "model.safetensors")
    stem = ("backbone.timm_model.conv1.", "backbone.timm_model.bn1.", "backbone.timm_model.layer1.")
    for name, tensor in found.items():
        if name.endswith(("weight", "running_mean")) and "backbone" in name:
            assert torch.equal(tensor, start[name]) == name.startswith(stem), name
    with pytest.raises(InputError, match=r"freeze_stages is 5, but test_resnet has 5 stages: give fewer"):
        train(tiny(output_dir=tmp_path / "all", freeze_stages=5, **options))


def test_training_mode_of_frozen_parts(tiny: Tiny) -> None:
    model = run.new_model(tiny(), ["a", "b"], run.Accelerator())
    norms = [module for module in model.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for frozen, frozen_norms in ((False, False), (True, False), (False, True)):
        model.eval()
        set_train_mode(model, model, frozen, frozen_norms)
        assert model.training
        assert model.backbone.training is not frozen
        assert {norm.training for norm in norms} == {not (frozen or frozen_norms)}
