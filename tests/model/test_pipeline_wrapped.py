"""The pipeline on models that torch.compile or PEFT wraps."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from sct_hf import MultiLabelImageClassificationPipeline, build_model, encode_labels, image_processor
from sct_hf.model.backbone_sct import capability

LABELS = ["dog", "cat", "boat"]
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8))


def compiled(model: Any) -> Any:
    return torch.compile(model, backend="eager")


def adapted(model: Any) -> Any:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    torch.manual_seed(1)
    return peft.get_peft_model(model, peft.LoraConfig(target_modules="all-linear"))  # begins without effect


def make_model() -> Any:
    torch.manual_seed(0)
    text = encode_labels(LABELS, "random:12")
    fields = {"hidden_size": 32, "encoder_ffn_dim": 48, "encoder_attention_heads": 4, "scorer": "label"}
    model = build_model("test_resnet", LABELS, image_size=64, label_vectors=text, **fields)
    model(torch.randn(8, 3, 64, 64))  # moves the running statistics off 0 and 1
    return model.eval()


@pytest.mark.parametrize("wrap", [compiled, adapted])
def test_tags_heatmaps_and_new_labels_of_a_wrapped_model(wrap: Any) -> None:
    model = make_model()
    processor = image_processor(model.config)
    plain = MultiLabelImageClassificationPipeline(model=model, image_processor=processor, device="cpu")
    asked: list[dict[str, Any]] = [{"heatmaps": True}, {"maps": True}, {"labels": ["horse", "cat"]}]
    wanted = [plain(IMAGE, threshold=0, **arguments) for arguments in asked]
    wrapped = MultiLabelImageClassificationPipeline(model=wrap(model), image_processor=processor, device="cpu")
    assert wrapped.gives_maps
    for arguments, expected in zip(asked, wanted, strict=True):
        found = wrapped(IMAGE, threshold=0, **arguments)
        for tag, other in zip(found, expected, strict=True):
            assert tag.keys() == other.keys()
            assert tag["label"] == other["label"]
            assert tag["score"] == pytest.approx(other["score"], abs=1e-5)
            assert tag.get("box") == other.get("box")
            if "heatmap" in tag:
                apart = np.abs(np.asarray(tag["heatmap"], float) - np.asarray(other["heatmap"], float))
                assert apart.max() <= 2


@pytest.mark.parametrize("wrap", [compiled, adapted, lambda model: model])
def test_what_a_model_can_do_is_seen_through_its_wrapper(wrap: Any) -> None:
    model = wrap(make_model())
    assert capability(model, "gives_maps")
    assert not capability(model, "takes_known_labels")


def test_models_of_transformers_and_peers_can_do_none_of_it() -> None:
    size = {"image_size": 16, "patch_size": 16, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    peer = build_model("test_resnet", LABELS, image_size=64, head="linear")
    for model in (ViTForImageClassification(ViTConfig(**size)), peer, torch.nn.Linear(2, 3)):
        for name in ("gives_maps", "takes_known_labels"):
            assert not capability(model, name)
            assert not capability(compiled(model), name)
