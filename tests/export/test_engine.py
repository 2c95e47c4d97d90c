"""Engines of tagging, against the model itself."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from sct_hf import InputError, Tagger, build_model, encode_labels, image_processor
from sct_hf.export import engine, kept_graphs
from sct_hf.export.engine import make_engine
from sct_hf.export.graph import make_graph
from sct_hf.export.kept_graphs import graph_key, keep_graph
from sct_hf.export.onnx_file import write_onnx
from sct_hf.model.outputs_sct import label_scores

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


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The folder where graphs are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sct_hf" / "engines"


@pytest.fixture
def exports(exported, monkeypatch) -> list[Path]:
    """What is exported; the file is one that was exported before, which takes less time."""
    written: list[Path] = []

    def copy(graph: object, path: Path) -> None:
        shutil.copy(exported, path)
        written.append(path)

    monkeypatch.setattr(engine, "make_graph", lambda model: None)
    monkeypatch.setattr(engine, "write_onnx", copy)
    return written


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


def test_a_graph_is_exported_once(cache, exports) -> None:
    model = made(LABELS).model
    pixels = np.random.default_rng(1).standard_normal((2, 3, 64, 64), dtype=np.float32)
    with torch.inference_mode():
        expected = label_scores(model(torch.from_numpy(pixels)).logits, model.config).numpy()
    for _ in range(3):
        found = make_engine("onnxruntime", model)
        assert found(pixels) == pytest.approx(expected, abs=1e-5)
        assert [found.kept] == list(cache.iterdir())
    assert len(exports) == 1
    assert not exports[0].exists()  # the copy in the cache alone


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "another"])
def test_a_graph_that_is_damaged_or_another_is_exported_anew(cache, exports, tmp_path, damage: str) -> None:
    model = made(LABELS).model
    kept = make_engine("onnxruntime", model).kept
    content = kept.read_bytes()
    if damage == "another":  # whole, and under this key
        other = onnx.load(kept)
        for node in other.graph.node:
            if node.op_type == "Sigmoid":
                node.op_type = "Tanh"
        kept.unlink()
        onnx.save(other, tmp_path / "other.onnx")
        (tmp_path / "alone").mkdir()
        shutil.copy(tmp_path / "other.onnx", tmp_path / "alone")
        assert keep_graph(graph_key(model), tmp_path / "alone" / "other.onnx").parent == cache
    else:
        kept.write_bytes({"cut": content[:-1], "bit": damaged(content, len(content) // 2), "empty": b""}[damage])
    assert make_engine("onnxruntime", model).kept == kept
    assert len(exports) == 2
    assert [path.read_bytes() for path in cache.iterdir()] == [content]
    assert make_engine("onnxruntime", model).kept == kept
    assert len(exports) == 2


def aged(path: Path, days: int) -> None:
    """Let a file be so many days old."""
    then = time.time() - days * 24 * 60 * 60
    os.utime(path, (then, then))


def alone(folder: Path, content: bytes) -> Path:
    """A file alone in its folder, as exports are."""
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    return folder / "model.onnx"


def test_a_graph_that_does_not_open_is_removed_and_exported_anew(cache, exports, tmp_path) -> None:
    model = made(LABELS).model
    aged(keep_graph(graph_key(model), alone(tmp_path / "export", b"no graph")), -1)  # newer than what is exported
    for _ in range(2):
        assert [make_engine("onnxruntime", model).kept] == list(cache.iterdir())
        assert len(exports) == 1


def test_the_newest_graphs_stay_one_of_a_key(cache, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kept_graphs, "_MOST", 3)
    cache.mkdir(parents=True)
    (cache / ".partial-key-of-a-killed-process.onnx").touch()
    aged(cache / ".partial-key-of-a-killed-process.onnx", 9)
    kept = {}
    for days in (4, 3, 2, 1):
        kept[days] = keep_graph(f"key{days}", alone(tmp_path / "export", b"a graph"))
        aged(kept[days], days)
    assert set(cache.iterdir()) == {kept[3], kept[2], kept[1]}
    kept[0] = keep_graph("key2", alone(tmp_path / "export", b"the same graph in other bytes"))
    assert set(cache.iterdir()) == {kept[3], kept[1], kept[0]}


def test_what_decides_a_graph_is_in_its_key(monkeypatch) -> None:
    model = made(LABELS).model
    keys = [graph_key(model)]
    assert graph_key(made(LABELS).model) == keys[0]
    model.config._name_or_path = "elsewhere"
    model.config.thresholds = {"precision=0.9": [0.5, None, 0.25]}
    model.config.id2label, before = dict(enumerate("abc")), model.config.id2label
    assert graph_key(model) == keys[0]
    model.config.id2label, model.config.label_parents = before, {"dog": ["cat"]}
    keys.append(graph_key(model))
    model.config.id2label = {0: "cat", 1: "dog", 2: "boat"}  # now the first is above the second
    keys.append(graph_key(model))
    model.config.calibration = None
    keys.append(graph_key(model))
    model.config.image_size = 96
    keys.append(graph_key(model))
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6
    keys.append(graph_key(model))
    monkeypatch.setattr(kept_graphs, "version_of", lambda package: "another")
    keys.append(graph_key(model))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("place", ["file", "~nobody.of.this.name"])
def test_a_cache_that_cannot_be_written_is_done_without(exports, tmp_path, monkeypatch, place: str) -> None:
    (tmp_path / "file").write_text("a file where the folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", place if place.startswith("~") else str(tmp_path / place))
    for count in (1, 2):
        found = make_engine("onnxruntime", made(LABELS).model)
        assert found.kept is None
        assert found(np.zeros((1, 3, 64, 64), dtype=np.float32)).shape == (1, 3)
        assert len(exports) == count


def test_weights_in_a_second_file_are_not_kept(cache, tmp_path) -> None:
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / name).write_bytes(b"x")
    assert keep_graph("key", tmp_path / "model.onnx") is None
    assert not cache.exists()


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
