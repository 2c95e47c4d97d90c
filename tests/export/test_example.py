"""run_onnx.py of an export: what it prints without torch, and how it prepares images."""

import importlib.util
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import expit
from transformers import AutoModelForImageClassification, pipeline

from sct_hf.data import eval_transform
from sct_hf.model.pipeline_sct import select_tags
from tests.export.tiny import CALIBRATION, LABELS, THRESHOLDS

onnxruntime = pytest.importorskip("onnxruntime", reason="run_onnx.py needs onnxruntime")

BLOCKED = ("torch", "torchvision", "timm", "transformers", "sct_hf", "datasets", "safetensors")


@pytest.fixture(scope="module")
def example(exported: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_onnx", exported / "run_onnx.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def transform(exported: Path):
    preparation = json.loads((exported / "export.json").read_text())["preprocessing"]
    return eval_transform(preparation["size"], preparation["mean"], preparation["std"])


def check_output(text: str, checkpoint: Path, images: list[Path], transform) -> None:
    """Tags above their label's threshold, by falling score, as the model gives them."""
    model = AutoModelForImageClassification.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        logits = model(torch.stack([transform(Image.open(path)) for path in images])).logits.numpy()
    scores = expit(np.array(CALIBRATION["slope"]) * logits + np.array(CALIBRATION["shift"]))
    lines = text.splitlines()
    assert len(lines) == len(images)
    for line, path, row in zip(lines, images, scores, strict=True):
        name, *tags = line.split("\t")
        assert name == str(path)
        found = {tag.rsplit(" ", 1)[0]: float(tag.rsplit(" ", 1)[1]) for tag in tags}
        expected = {
            label: score for label, score, least in zip(LABELS, row, THRESHOLDS, strict=True) if score >= least
        }
        assert found == pytest.approx(expected, abs=1e-4)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert any("\t" in line for line in lines)


def test_runs_where_torch_cannot_be_imported(
    exported: Path, checkpoint: Path, images: Path, transform, tmp_path: Path
) -> None:
    for name in BLOCKED:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is blocked')")
    files = [images / f"{number}.png" for number in range(3)]  # of the model's size: nothing is resized
    command = [sys.executable, str(exported / "run_onnx.py"), *map(str, files)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    check_output(done.stdout, checkpoint, files, transform)


def test_tags_are_those_of_the_pipeline(
    exported: Path, checkpoint: Path, images: Path, example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images of the model's size, on the real graph; for others, resizing is a level or two apart."""
    tagger = pipeline("multi-label-image-classification", model=str(checkpoint), device="cpu")
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    for number, profile in product(range(6), (None, "strict")):
        path = str(images / f"{number}.png")
        (scores,) = session.run(["scores"], {"pixel_values": example.preprocess(path)})[0]
        found, wanted = example.tags(scores, profile), tagger(path, profile=profile)
        assert [label for label, _ in found] == [tag["label"] for tag in wanted]
        expected = [tag["score"] for tag in wanted]
        assert [score for _, score in found] == pytest.approx(expected, abs=1e-4 if number < 3 else 5e-3)


def test_choosing_is_that_of_the_pipeline(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for spread in (0.1, 3, 200):
        for _ in range(50):
            logits = rng.normal(0, spread, len(LABELS)).round(1).astype(np.float32)  # rounded, so that some are equal
            scores = torch.from_numpy(logits).sigmoid().numpy()
            thresholds = rng.random(len(LABELS)).tolist()
            monkeypatch.setitem(example.EXPORT, "thresholds", thresholds)
            wanted = select_tags(scores, np.array(thresholds, dtype=np.float32))
            found = example.tags(scores)
            assert [label for label, _ in found] == [LABELS[label] for label in wanted]
            assert [score for _, score in found] == pytest.approx(scores[wanted].tolist(), abs=1e-6)


def test_scores_that_are_no_numbers_are_refused(example: ModuleType) -> None:
    with pytest.raises(ValueError, match="not numbers"):
        example.tags(np.array([0.0, np.nan, 1.0], dtype=np.float32))


def test_goes_on_past_a_broken_image(
    example: ModuleType, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes((images / "0.png").read_bytes()[:300])
    exif = b"Exif\x00\x00\x00M\x00\xff\x00\x00\x00\x08\x00\x01\x01\xff\x00\x00\x00\x00\xff\x01\x00\x06\x00\x00"
    Image.open(images / "1.png").convert("RGB").save(tmp_path / "exif.jpg", exif=exif)
    words = [images / "0.png", tmp_path / "broken.png", tmp_path / "absent.png", tmp_path / "exif.jpg"]
    assert example.main([str(word) for word in words]) == 1
    out, errors = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == [str(words[0]), str(words[3])]
    assert [line.split(": ")[0] for line in errors.splitlines()] == [str(words[1]), str(words[2])]


@pytest.mark.slow
def test_runs_in_an_environment_of_its_own(
    exported: Path, checkpoint: Path, images: Path, transform, tmp_path: Path
) -> None:
    python = tmp_path / "env" / "bin" / "python"
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True, env=clean)
    packages = ["onnxruntime", "numpy", "pillow"]
    installed = subprocess.run([python, "-m", "pip", "install", "-q", *packages], env=clean, capture_output=True)
    if installed.returncode:
        pytest.skip(f"pip cannot install {', '.join(packages)}: {installed.stderr.decode()[-200:]}")
    assert subprocess.run([python, "-c", "import torch"], env=clean, capture_output=True).returncode != 0
    files = [images / f"{number}.png" for number in range(3)]
    done = subprocess.run([python, exported / "run_onnx.py", *files], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check_output(done.stdout, checkpoint, files, transform)


def test_int8_by_name(exported: Path, images: Path) -> None:
    command = [sys.executable, str(exported / "run_onnx.py"), str(images / "0.png"), "--graph=model_int8.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{images / '0.png'}\t")


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "L", "P", "I;16", "turned"])
def test_images_of_the_size_are_prepared_as_in_evaluation(
    example: ModuleType, transform, tmp_path: Path, kind: str
) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "image.png"
    image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    if kind == "I;16":
        Image.fromarray(rng.integers(0, 65536, (64, 64), dtype=np.uint16)).save(path)
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    elif kind == "RGBA":
        image.putalpha(100)
        image.save(path)
    else:
        image.convert(kind).save(path)
    expected = transform(Image.open(path)).numpy()
    np.testing.assert_allclose(example.preprocess(path)[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(500, 375), (90, 130), (40, 50)])
def test_resized_images_are_two_levels_off_at_most(example: ModuleType, transform, tmp_path: Path, size) -> None:
    """Pillow and torchvision round the weights of the same filter to another number of bits."""
    width, height = size
    rng = np.random.default_rng(2)
    waves = 127 + 100 * np.sin(np.arange(width) / 9)[None, :, None] * np.cos(np.arange(height) / 7)[:, None, None]
    pixels = np.clip(waves + rng.normal(0, 15, (height, width, 3)), 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "image.png")
    found = example.preprocess(tmp_path / "image.png")[0]
    expected = transform(Image.open(tmp_path / "image.png")).numpy()
    std = np.array(example.EXPORT["preprocessing"]["std"])[:, None, None]
    levels = np.abs(found - expected) * std * 255
    assert levels.max() < 2.01
    assert levels.mean() < 0.1


def test_names_are_text_in_the_terminal(
    example: ModuleType, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(example.EXPORT, "labels", ["\x1b[2J狗", "a\tb", "\x9bc\n", "\u202ed"][: len(LABELS)])
    monkeypatch.setitem(example.EXPORT, "thresholds", [0.0] * len(LABELS))
    assert example.main([str(images / "0.png"), "\x1b.png"]) == 1
    printed, errors = capsys.readouterr()
    assert not [letter for letter in printed + errors if not letter.isprintable() and letter not in "\t\n"]
    assert len(printed.splitlines()) == len(errors.splitlines()) == 1
    assert r"\x1b[2J狗" in printed
