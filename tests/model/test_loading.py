"""The ways to load a checkpoint: files, shards, devices, dtypes, quantised, with adapters."""

import json

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel, AutoModelForImageClassification, pipeline

from sct_hf import SCTForMultiLabelClassification, image_processor
from tests.model.conformance import assert_same_tensors, images, over_backbones, tiny_model

LORA = ["qkv", "region_proj", "label_proj", "pooled_proj", "text_proj", "ffn_in"]


def load(folder, **options) -> SCTForMultiLabelClassification:
    return AutoModelForImageClassification.from_pretrained(folder, **options).eval()


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(images()).logits


# Files


def test_weights_are_written_as_safetensors_alone(tmp_path) -> None:
    model = tiny_model("cnn")
    model.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict())
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        load(tmp_path, use_safetensors=True)


@over_backbones
def test_a_checkpoint_in_shards(kind: str, tmp_path) -> None:
    model = tiny_model(kind)
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    shards = {file.name for file in tmp_path.glob("*.safetensors")}
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(shards) > 2
    assert set(index.values()) == shards
    assert index.keys() == model.state_dict().keys()
    assert_same_tensors(load(tmp_path), model)
    next(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(OSError, match="safetensors"):
        load(tmp_path)


# Devices


@over_backbones
def test_devices_chosen_by_accelerate(kind: str, tmp_path) -> None:
    model = tiny_model(kind)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path, device_map="auto")
    assert_same_tensors(loaded.cpu(), model)
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "auto"),
    [("swin", AutoModelForImageClassification), ("swin", AutoModel), ("vit", AutoModel), ("cnn", AutoModel)],
)
def test_what_finds_no_room_is_left_on_disk_in_whole_blocks(kind: str, auto, tmp_path) -> None:
    model = tiny_model(kind, encoder_layers=3)
    model.save_pretrained(tmp_path / "model")
    whole = {"sct.backbone", "backbone", *(f"{part}encoder.{index}" for part in ("", "sct.") for index in range(3))}
    pixels, maps = images(), []
    part = model if auto is AutoModelForImageClassification else model.sct
    with torch.no_grad():
        expected = part(pixels)[0]
    for share in (0.7, 0.85, 0.97):
        room = {"cpu": int(share * part.get_memory_footprint()), "disk": 10**9}
        loaded = auto.from_pretrained(
            tmp_path / "model", device_map="auto", max_memory=room, offload_folder=tmp_path / str(share)
        )
        maps.append(getattr(loaded, "hf_device_map", {}))
        assert not {name for name in maps[-1] for block in whole if name.startswith(f"{block}.")}
        with torch.no_grad():
            torch.testing.assert_close(loaded.eval()(pixels)[0], expected, rtol=0, atol=1e-5)
    assert any(set(places.values()) == {"cpu", "disk"} for places in maps)


# Dtypes


@over_backbones
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_temperature_and_is_kept(kind: str, dtype: torch.dtype, tmp_path) -> None:
    model = tiny_model(kind, temperature=0.07)
    model.save_pretrained(tmp_path / "whole")
    half = load(tmp_path / "whole", dtype=dtype)
    others = {name for name, weight in half.named_parameters() if weight.dtype != dtype}
    assert others == {"sct.log_temperature"}
    assert torch.equal(half.sct.log_temperature, model.sct.log_temperature)
    torch.testing.assert_close(logits(half), logits(model), rtol=0, atol=0.02)
    half.save_pretrained(tmp_path / "half")
    for again in (load(tmp_path / "half"), load(tmp_path / "half", dtype="auto")):
        assert again.dtype == again.config.dtype == again.sct.dtype == dtype
        assert_same_tensors(again, half)
    assert load(tmp_path / "half", dtype=torch.float32).dtype == torch.float32


def test_a_pipeline_in_half_precision(tmp_path) -> None:
    model = tiny_model("vit")
    model.save_pretrained(tmp_path)
    image_processor(model.config).save_pretrained(tmp_path)
    image = torch.randint(256, (3, 50, 90), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    scores = []
    for dtype in (torch.float32, torch.bfloat16):
        tagger = pipeline("image-classification", model=str(tmp_path), dtype=dtype, device="cpu")
        assert tagger.model.dtype == dtype
        scores.append({tag["label"]: tag["score"] for tag in tagger(image)})
    assert scores[1] == pytest.approx(scores[0], abs=0.01)
    assert scores[1] != scores[0]


# Quantised


@over_backbones
def test_linear_layers_in_eight_bits(kind: str, tmp_path) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    from transformers import TorchAoConfig

    model = tiny_model(kind)
    model.save_pretrained(tmp_path / "whole")
    config = TorchAoConfig(quantization.Int8WeightOnlyConfig())
    small = load(tmp_path / "whole", quantization_config=config)
    linear = [module.weight for module in small.modules() if isinstance(module, torch.nn.Linear)]
    assert len(linear) >= 14
    assert all(type(weight).__name__ == "Int8Tensor" for weight in linear)
    expected, found = logits(model), logits(small)
    # Rounding to 1/127 of a row's largest weight: a fraction of a percent of the spread, but not nothing.
    assert 0 < (found - expected).abs().max() < 0.03 * expected.std()
    torch.testing.assert_close(logits(torch.compile(small, backend="eager", fullgraph=True)), found)
    small.save_pretrained(tmp_path / "small")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("small", "whole")]
    assert sizes[0] < sizes[1]
    torch.testing.assert_close(logits(load(tmp_path / "small")), found, rtol=0, atol=1e-6)


# Adapters


@pytest.fixture
def peft():
    return pytest.importorskip("peft")


def trained_lora(peft, model, targets):
    """The model with LoRA on its linear layers, trained for two steps."""
    config = peft.LoraConfig(r=4, target_modules=LORA, modules_to_save=["scores", "semantic_features.norm"])
    adapted = peft.get_peft_model(model, config).train()
    adapted.backbone.eval()  # batch statistics are no weights: those of a frozen part must stay
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        adapted(images(3), labels=targets).loss.backward()
        optimizer.step()
    return adapted.eval()


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_low_rank_adapters_are_trained_saved_and_merged(peft, kind: str, targets, tmp_path) -> None:
    model = tiny_model(kind)
    model.save_pretrained(tmp_path / "model")
    before = logits(model)
    adapted = trained_lora(peft, load(tmp_path / "model"), targets)
    layers = {name.split(".lora_")[0].rsplit(".")[-1] for name, _ in adapted.named_parameters() if ".lora_" in name}
    assert layers == set(LORA) - ({"qkv"} if kind == "cnn" else set())
    trainable, total = adapted.get_nb_trainable_parameters()
    assert trainable < total / 10
    expected = logits(adapted)
    assert not torch.allclose(expected, before, atol=1e-2)
    adapted.save_pretrained(tmp_path / "adapter")
    base = load(tmp_path / "model")
    logits(base)  # what it keeps of its weights must not outlive them
    again = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(again), expected, rtol=0, atol=1e-6)
    merged = adapted.merge_and_unload()
    assert type(merged) is SCTForMultiLabelClassification
    torch.testing.assert_close(logits(merged), expected, rtol=0, atol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(load(tmp_path / "merged")), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layer", ["text_proj", "pooled_scorer.scores.proj"])
def test_an_adapter_is_seen_where_a_layers_weight_is_used_without_it(peft, layer: str) -> None:
    """The result of the first is kept between calls; of the second each label takes one row."""
    model = tiny_model("cnn")
    before = logits(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=[layer]))
    torch.testing.assert_close(logits(adapted), before)  # a new adapter does nothing
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    expected = logits(adapted)
    assert not torch.allclose(expected, before, atol=1e-2)
    with adapted.disable_adapter():
        torch.testing.assert_close(logits(adapted), before)
    torch.testing.assert_close(logits(adapted), expected)
    torch.testing.assert_close(logits(adapted.merge_and_unload()), expected)
