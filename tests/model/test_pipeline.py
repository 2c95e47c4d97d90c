"""The pipelines on a checkpoint of SCT, against the model computed directly."""

import base64
import io
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, pipeline
from transformers.pipelines.pt_utils import KeyDataset

from sct_hf import SCTForMultiLabelClassification
from sct_hf.model.pipeline_sct import MultiLabelImageClassificationPipeline, heatmap_box, heatmap_overlay
from tests.model.tagging import LABELS, TASK, direct, expected, heatmaps_by_hand, named


@pytest.fixture(scope="module")
def tagger(folders) -> MultiLabelImageClassificationPipeline:
    return pipeline(TASK, model=str(folders["linear"]), device="cpu")


@pytest.fixture
def url(images) -> Iterator[str]:
    """The address of the images' folder on a server of this machine."""
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(images[0].parent)))
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_tags_are_the_sigmoid_of_the_logits_by_falling_score(tagger, images) -> None:
    tags = tagger(str(images[1]), threshold=0)
    assert named(tags) == expected(tagger.model, images[1])
    assert all(set(tag) == {"label", "score"} and type(tag["score"]) is float for tag in tags)


def test_images_come_as_pil_path_url_base64(tagger, images, url) -> None:
    wanted = tagger(str(images[2]), threshold=0)
    code = base64.b64encode(images[2].read_bytes()).decode()
    for image in (Image.open(images[2]), images[2], f"{url}/2.png", code, f"data:image/png;base64,{code}"):
        assert tagger(image, threshold=0) == wanted


def test_16_bit_images_are_scaled_and_exif_turns(tagger, images, tmp_path) -> None:
    grey = np.asarray(Image.open(images[1]).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert tagger(tmp_path / "deep.png", threshold=0) == tagger(Image.fromarray(grey), threshold=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Image.fromarray(grey).save(tmp_path / "lying.png", exif=exif)
    assert tagger(tmp_path / "lying.png", threshold=0) == tagger(Image.fromarray(np.rot90(grey, k=-1)), threshold=0)


def test_many_images_in_every_container(tagger, images) -> None:
    wanted = [named(tagger(str(path), threshold=0)) for path in images]
    data = Dataset.from_dict({"image": [str(path) for path in images]}, Features({"image": ImageFeature()}))
    read = []

    def generator() -> Iterator[str]:
        for path in images:
            read.append(path)
            yield str(path)

    many = {
        "list": [str(path) for path in images],
        "tuple": tuple(map(str, images)),
        "generator": generator(),
        "KeyDataset": KeyDataset(data, "image"),
        "column": data["image"],
        "streamed column": data.to_iterable_dataset()["image"],
    }
    for kind, inputs in many.items():
        for batch_size in (1, 2):
            if kind == "generator":
                inputs = generator()
            found = tagger(inputs, threshold=0, batch_size=batch_size)
            assert isinstance(found, list) == (kind == "list")
            for tags, scores in zip(found, wanted, strict=True):
                assert named(tags) == pytest.approx(scores, abs=1e-5), (kind, batch_size)
    assert tagger([]) == []
    read.clear()
    next(iter(tagger(generator(), threshold=0)))
    assert len(read) < len(images)  # nothing is read ahead of need


def test_thresholds_of_the_checkpoint_of_a_number_and_by_label(folders, images, tmp_path) -> None:
    shutil.copytree(folders["linear"], tmp_path / "model")
    model = SCTForMultiLabelClassification.from_pretrained(tmp_path / "model")
    scores = direct(model, images[0])
    order = [LABELS[label] for label in np.argsort(-scores)]
    best, second, *_, last = order
    model.config.thresholds = [0.0 if name in (best, last) else 1.0 for name in LABELS]
    model.save_pretrained(tmp_path / "model")

    def tags(**arguments: Any) -> list[str]:
        return [tag["label"] for tag in tagger(str(images[0]), **arguments)]

    tagger = pipeline(TASK, model=str(tmp_path / "model"), device="cpu")
    assert tags() == [best, last]
    assert tags(threshold=0) == order
    assert tags(threshold=1.0) == []
    assert tags(threshold={second: 0.0, last: 1}) == [best, second]
    assert tags(top_k=1) == [best]
    preset = pipeline(TASK, model=str(tmp_path / "model"), device="cpu", threshold=0, top_k=2)
    assert [tag["label"] for tag in preset(str(images[0]))] == order[:2]
    assert [tag["label"] for tag in preset(str(images[0]), top_k=3)] == order[:3]


def test_without_thresholds_a_tag_has_one_half(tagger, images) -> None:
    scores = direct(tagger.model, images[0])
    assert min(abs(scores - 0.5)) > 0.005
    wanted = {name for name, score in zip(LABELS, scores, strict=True) if score >= 0.5}
    assert set(named(tagger(str(images[0])))) == wanted
    assert 0 < len(wanted) < len(LABELS)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_heatmaps_and_boxes_are_those_of_the_maps(tagger, images, batch_size) -> None:
    paths = [str(path) for path in images]
    for path, tags in zip(images, tagger(paths, heatmaps=True, threshold=0, batch_size=batch_size), strict=True):
        image = Image.open(path)
        with torch.no_grad():
            out = tagger.model(**tagger.image_processor(image, return_tensors="pt"), output_maps=True)
        maps = heatmaps_by_hand(out.semantic_map[0], out.region_scores[0])
        assert len(tags) == len(LABELS)
        for tag in tags:
            weights = maps[LABELS.index(tag["label"])]
            assert tag["heatmap"].size == image.size
            overlay = np.asarray(heatmap_overlay(image, weights), dtype=float)
            assert abs(np.asarray(tag["heatmap"], dtype=float) - overlay).max() <= 2
            assert tag["box"] == heatmap_box(weights, image.size)


def test_wrong_arguments_are_named(tagger, folders, images, url) -> None:
    path = str(images[0])
    with pytest.raises(TypeError, match=r"no argument 'limit': it takes .*threshold"):
        tagger(path, limit=0.5)
    cases = {
        "threshold is 2": {"threshold": 2},
        "threshold is '0.5'": {"threshold": "0.5"},
        "threshold is True": {"threshold": True},
        "no label is called 'horse'": {"threshold": {"horse": 0.5}},
        "threshold is -1": {"threshold": {"dog": -1}},
        "top_k is 0": {"top_k": 0},
        "heatmaps is 'yes'": {"heatmaps": "yes"},
        r"labels is 'horse': give a list": {"labels": "horse"},
        r"labels is \['a', 'a'\]": {"labels": ["a", "a"]},
        r"labels: .*scorer='linear'.*scorer='label'": {"labels": ["horse"]},
        "label_encoder is given without labels": {"label_encoder": "minilm"},
        "label_templates is given without labels": {"label_templates": ["a {}"]},
    }
    for message, arguments in cases.items():
        with pytest.raises(ValueError, match=message):
            tagger(path, **arguments)
    for image in ("absent.png", f"{url}/absent.png", 7, None, b"bytes"):
        with pytest.raises(ValueError, match=r"image .* cannot be read"):
            tagger(image)
    size = {"image_size": 16, "patch_size": 16, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    options = {"image_processor": tagger.image_processor, "device": "cpu"}
    with pytest.raises(ValueError, match="problem_type is None"):
        pipeline(TASK, model=ViTForImageClassification(ViTConfig(**size)), **options)
    many = ViTForImageClassification(ViTConfig(problem_type="multi_label_classification", **size))
    with pytest.raises(ValueError, match=r"heatmaps: .*'vit' has no map of its labels"):
        pipeline(TASK, model=many, **options)(path, heatmaps=True)


def test_image_classification_is_right_for_many_labels(folders, images, url) -> None:
    stock = pipeline("image-classification", model=str(folders["linear"]), device="cpu")
    tags = stock([f"{url}/{path.name}" for path in images], top_k=2, batch_size=2)
    for path, found in zip(images, tags, strict=True):
        assert named(found) == expected(stock.model, path, top_k=2)


def test_image_feature_extraction_gives_a_vector_a_label(folders, images) -> None:
    extractor = pipeline("image-feature-extraction", model=str(folders["linear"]), device="cpu")
    model = SCTForMultiLabelClassification.from_pretrained(folders["linear"])
    buffer = io.BytesIO(images[0].read_bytes())
    (found,) = extractor([Image.open(buffer)], return_tensors=True)
    assert found.shape == (1, len(LABELS), 32)
    pixels = np.asarray(Image.open(images[0])) / 255
    values = (pixels - np.array(model.config.image_mean)) / np.array(model.config.image_std)
    with torch.no_grad():
        out = model.sct(torch.tensor(values, dtype=torch.float32).permute(2, 0, 1)[None])
    torch.testing.assert_close(found, out.label_features, rtol=1e-4, atol=1e-4)
    both = extractor([str(path) for path in images[:2]], batch_size=2)
    assert np.shape(both[0]) == np.shape(both[1]) == (1, len(LABELS), 32)
