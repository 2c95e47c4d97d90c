"""Engines of tagging, against the model itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from sct_hf import InputError, Tagger, build_model, encode_labels, image_processor
from sct_hf.export.engine import make_engine
from sct_hf.export.graph import make_graph
from sct_hf.export.onnx_file import write_onnx

LABELS = ["dog", "cat", "boat"]


def made(labels: list[str]) -> Tagger:
    torch.manual_seed(0)
    text = encode_labels(labels, "random:12")
    model = build_model("test_resnet", labels, image_size=64, label_vectors=text, hidden_size=32)
    model(torch.randn(8, 3, 64, 64))  # moves the running statistics off 0 and 1
    model.config.calibration = {"slope": [0.5] * len(labels), "shift": [0.25] * len(labels)}
    return Tagger(model, image_processor(model.config))


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    write_onnx(make_graph(made(LABELS).model), path)
    return path


@pytest.fixture
def images(tmp_path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (50, 80, 3), dtype=np.uint8)).save(path)
    paths[3].write_bytes(b"no image")
    return paths


@pytest.mark.parametrize(
    "engine",
    [pytest.param("onnxruntime", marks=pytest.mark.slow), pytest.param("openvino", marks=pytest.mark.slow), "file"],
)
def test_an_engine_gives_the_tags_of_the_model(exported, images, engine: str) -> None:
    if engine != "file":
        pytest.importorskip(engine)
    tagger = made(LABELS)
    expected = list(tagger.tag(images, threshold=0, batch_size=2))
    calls: list[int] = []
    run = make_engine(str(exported) if engine == "file" else engine, tagger.model)

    def counted(pixels: np.ndarray) -> np.ndarray:
        calls.append(len(pixels))
        return run(pixels)

    tagger.engine = counted
    found = list(tagger.tag(images, threshold=0, batch_size=2))
    assert calls == [2, 1, 1]  # one of the second batch cannot be read
    for one, other in zip(found, expected, strict=True):
        assert dict(one.tags) == pytest.approx(dict(other.tags), abs=1e-5)
        assert one.error == other.error
    assert [bool(one.error) for one in found] == [False, False, False, True, False]
    assert [len(one.tags) for one in tagger.tag(images[:1], threshold=0, top_k=1)] == [1]


def test_what_an_engine_cannot_do_is_refused(exported, images) -> None:
    tagger = made(LABELS)
    tagger.engine = make_engine(str(exported), tagger.model)
    for options in ({"maps": True}, {"labels": ["cow", "horse"]}, {"known_labels": {"dog": True}}):
        with pytest.raises(InputError, match=rf"engine: it only gives scores .* no {next(iter(options))}"):
            tagger.tag(images, **options)
    for name in ("tensorrt", "absent.onnx", str(images[0])):
        with pytest.raises(InputError, match=r"give torch, onnxruntime, openvino or a file that sct-hf export wrote"):
            make_engine(name, tagger.model)
    with pytest.raises(InputError, match=r"gives scores of shape \(1, 3\), where the model has \(1, 4\)"):
        make_engine(str(exported), made([*LABELS, "sheep"]).model)
    metadata = exported.with_name("export.json")
    for content in ('{"labels": ["dog", "cat", "boat"]}', "[1]", "no JSON", '{"labels": 3}'):
        metadata.write_text(content)
        make_engine(str(exported), tagger.model)
    metadata.write_text('{"labels": ["dog", "cow", "boat"]}')
    with pytest.raises(InputError, match=r"another checkpoint: it has the label 'cow' where the model has 'cat'"):
        make_engine(str(exported), tagger.model)
    metadata.unlink()
    with pytest.raises(InputError, match=r"a model of type 'vit' has no export"):
        make_engine("onnxruntime", ViTForImageClassification(ViTConfig(hidden_size=32, num_attention_heads=4)))
