"""New models by name, their processors, and the Auto classes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from sct_hf import InputError, build_model, encode_labels, image_processor
from sct_hf.data import eval_transform

LABELS = ["dog", "cat", "dining table"]
TINY = {"hidden_size": 32, "encoder_ffn_dim": 48, "encoder_attention_heads": 4}


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8))


@pytest.fixture(params=["sct", "linear"])
def saved(request, tmp_path):
    torch.manual_seed(0)
    text, head = encode_labels(LABELS, "random"), request.param
    fields = TINY if head == "sct" else {}
    model = build_model("test_resnet", LABELS, image_size=64, head=head, label_vectors=text, **fields).eval()
    model.save_pretrained(tmp_path)
    image_processor(model.config).save_pretrained(tmp_path)
    return model, tmp_path


def test_the_auto_classes_give_the_model_back(saved, image) -> None:
    model, folder = saved
    loaded = AutoModelForImageClassification.from_pretrained(folder)
    assert type(loaded) is type(model)
    assert loaded.config.label_names == LABELS
    assert loaded.config.image_mean == [0.5, 0.5, 0.5]  # test_resnet's own, not ImageNet's
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_the_pipeline_gives_sigmoid_scores_with_names(saved, image) -> None:
    model, folder = saved
    tags = pipeline("image-classification", model=str(folder), device="cpu")(image, top_k=3)
    resized = TF.resize(TF.pil_to_tensor(image), [64, 64], antialias=True).float() / 255
    with torch.no_grad():
        scores = model(((resized - 0.5) / 0.5)[None]).logits.sigmoid()[0]
    expected = sorted(zip(LABELS, scores.tolist(), strict=True), key=lambda pair: -pair[1])
    assert [tag["label"] for tag in tags] == [label for label, _ in expected]
    assert [tag["score"] for tag in tags] == pytest.approx([score for _, score in expected], abs=1e-5)


def test_the_processor_is_loaded_with_its_numbers(saved) -> None:
    _, folder = saved
    processor = AutoImageProcessor.from_pretrained(folder)
    assert processor.size["height"] == processor.size["width"] == 64
    assert list(processor.image_mean) == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_the_processor_does_the_evaluation_transform(saved, image, mode: str) -> None:
    model, folder = saved
    image = image.convert(mode)
    transform = eval_transform(model.config.image_size, model.config.image_mean, model.config.image_std)
    tensor = AutoImageProcessor.from_pretrained(folder)(image.convert("RGB"), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(tensor[0], transform(image), rtol=0, atol=1e-6)


def test_set_labels_keeps_the_words(saved) -> None:
    model, _ = saved
    if model.config.model_type == "sct":
        assert model.config.text_recipe["words"] == LABELS
        assert torch.equal(model.sct.label_embeddings, encode_labels(LABELS, "random").embeddings)


@pytest.mark.parametrize(
    ("backbone", "fields", "message"),
    [
        ("resnet1O1", {}, "resnet101"),
        ("convnext_atto", {"image_size": 16}, "image_size=16"),
        ("test_vit", {"image_size": 3}, "image_size=3"),
        ("test_resnet", {"head": "quadratic"}, "head='quadratic'"),
        ("test_resnet", {"label_vectors": None}, "label_vectors is missing"),
        ("test_resnet", {"backbone_weights": "no/such/file.safetensors"}, "backbone_weights"),
    ],
)
def test_bad_input_names_the_field(backbone, fields, message) -> None:
    arguments = {"image_size": 64, "label_vectors": encode_labels(LABELS, "random")} | fields
    with pytest.raises(InputError, match=message):
        build_model(backbone, LABELS, **arguments)


def test_a_field_that_there_is_not_is_refused_with_the_nearest() -> None:
    text = encode_labels(LABELS, "random")
    with pytest.raises(InputError, match=r"gama_neg=3 is no field of SCTConfig: did you mean gamma_neg"):
        build_model("test_resnet", LABELS, image_size=64, label_vectors=text, gama_neg=3)
    with pytest.raises(InputError, match=r"hidden_size=32 is no field of PeerConfig"):
        build_model("test_resnet", LABELS, image_size=64, head="linear", hidden_size=32)
