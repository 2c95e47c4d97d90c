"""All ways from an image to a tag give what the pipeline gives."""

import base64
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sct_hf import MultiLabelImageClassificationPipeline, Tagger, build_model, encode_labels, image_processor
from sct_hf.demo.viewer import Viewer
from sct_hf.hub.handler import EndpointHandler
from sct_hf.inference.scoring import score_images
from sct_hf_cli import run

LABELS = ["dog", "cat", "traffic light", "boat"]
NEW = ["wild boar", "dog", "fire engine"]
THRESHOLDS = [0.3, 0.45, 0.5, 0.55]
CALIBRATION = {"slope": [0.5, 2.0, 1.0, 1.5], "shift": [0.25, 0.5, 0.75, -0.25]}
ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"threshold": 0.4, "top_k": 2},
    {"labels": NEW, "threshold": 0.0},
    {"profile": "strict"},
    {"profile": "strict", "abstain": 0.2},
]
BROKEN_EXIF = b"Exif\x00\x00\x00M\x00\xff\x00\x00\x00\x08\x00\x01\x01\xff\x00\x00\x00\x00\xff\x01\x00\x06\x00\x00"
SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a label scorer with calibrated scores and two profiles of thresholds."""
    torch.manual_seed(3)
    text = encode_labels(LABELS, "random:12")
    model = build_model("test_resnet", LABELS, image_size=64, label_vectors=text, scorer="label", hidden_size=32)
    model(torch.randn(8, 3, 64, 64))  # moves the running statistics off 0 and 1
    model.config.calibration = CALIBRATION
    model.config.thresholds = {"balanced": THRESHOLDS, "strict": [0.3, None, 0.5, 0.4]}
    folder = tmp_path_factory.mktemp("label")
    model.save_pretrained(folder)
    image_processor(model.config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of several kinds and sizes: plain, turned by EXIF, with EXIF that cannot be read, 16 bits, a palette."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 64), (50, 90), (120, 70))]
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels[0]).save(folder / "a.png")
    Image.fromarray(pixels[1]).save(folder / "b.jpg", exif=turned)
    Image.fromarray(pixels[2]).save(folder / "c.jpg", exif=BROKEN_EXIF)
    Image.fromarray(pixels[1][..., 0].astype(np.uint16) * 257).save(folder / "d.png")
    Image.fromarray(pixels[2]).quantize(32).save(folder / "e.png", transparency=0)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def tagger(folder: Path) -> Tagger:
    return Tagger.from_pretrained(folder, "cpu")


def content(tags: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tags with scores to be compared within rounding, and without images."""
    return [
        {key: pytest.approx(value, abs=1e-5) if key == "score" else value for key, value in tag.items()}
        for tag in tags
        for tag in [{key: value for key, value in tag.items() if key not in ("map", "heatmap")}]
    ]


def by_tagger(tagger: Tagger, folder: Path, images: list[Path], arguments: dict[str, Any]) -> list[Any]:
    found = []
    for result in tagger.tag(images, batch_size=2, maps=True, **arguments):
        assert result.error is None
        found.append([{"label": label, "score": score} for label, score in result.tags])
        for tag in found[-1]:
            tag["box"] = result.boxes[tag["label"]]
            for mark in ("seen", "unsure"):
                if (marks := getattr(result, mark)) is not None:
                    tag[mark] = marks[tag["label"]]
    return found


def by_predict(tagger: Tagger, folder: Path, images: list[Path], arguments: dict[str, Any]) -> list[Any]:
    output = folder.with_name("tags.json")
    words = {"labels": lambda names: ",".join(names)}
    options = [f"--{name}={words.get(name, str)(value)}" for name, value in arguments.items()]
    options += [f"--model={folder}", "--boxes", "--format=json", f"--output={output}", "--batch_size=3"]
    assert run("predict", *options, *map(str, images)) == 0
    return [row["tags"] for row in json.loads(output.read_text())]


def by_handler(tagger: Tagger, folder: Path, images: list[Path], arguments: dict[str, Any]) -> list[Any]:
    encoded = [base64.b64encode(path.read_bytes()).decode() for path in images]
    return EndpointHandler(str(folder))({"inputs": encoded, "parameters": arguments | {"heatmaps": True}})


@pytest.mark.parametrize("way", [by_tagger, by_predict, by_handler])
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_every_way_gives_the_tags_of_the_pipeline(
    tagger: Tagger, folder: Path, images: list[Path], way: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    wanted = tagger.pipeline([str(path) for path in images], heatmaps=True, **arguments)
    found = way(tagger, folder, images, arguments)
    assert sum(map(len, wanted)) > len(images)
    assert [[tag["label"] for tag in tags] for tags in found] == [[tag["label"] for tag in tags] for tags in wanted]
    for tags, other in zip(found, wanted, strict=True):
        assert content(tags) == content(other)


def test_predict_names_labels_that_a_profile_leaves_out(
    folder: Path, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", f"--model={folder}", "--profile=strict", str(images[0])) == 0
    assert "no tags of cat: the profile has no threshold for them" in capsys.readouterr().err
    assert run("predict", f"--model={folder}", str(images[0])) == 0
    assert "no threshold" not in capsys.readouterr().err


def test_heatmaps_of_the_handler_are_those_of_the_pipeline(tagger: Tagger, folder: Path, images: list[Path]) -> None:
    found = by_handler(tagger, folder, images[:1], {})[0]
    for tag, wanted in zip(found, tagger.pipeline(str(images[0]), heatmaps=True), strict=True):
        shown = Image.open(io.BytesIO(base64.b64decode(tag["heatmap"])))
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(wanted["heatmap"]))


@pytest.mark.parametrize("names", [LABELS, NEW])
def test_the_demo_shows_what_the_pipeline_gives(tagger: Tagger, images: list[Path], names: list[str]) -> None:
    viewer = Viewer(tagger.pipeline)
    options = {} if names == LABELS else {"labels": names}
    for path in images:
        seen = viewer.look(str(path), names)
        wanted = tagger.pipeline(str(path), heatmaps=True, **options)
        found = viewer.tags(seen, viewer.thresholds(names))
        assert found == pytest.approx({tag["label"]: tag["score"] for tag in wanted}, abs=1e-6)
        assert list(found) == [tag["label"] for tag in wanted]
        for tag in wanted:
            np.testing.assert_array_equal(np.asarray(viewer.heatmap(seen, tag["label"])), np.asarray(tag["heatmap"]))


def test_scores_and_maps_are_those_of_the_pipeline(tagger: Tagger, images: list[Path]) -> None:
    model = tagger.model.train()
    scores, plans = score_images(model, tagger.processor, [Image.open(path) for path in images], maps=True)
    assert model.training
    model.eval()
    for row, plan, path in zip(scores, plans, images, strict=True):
        for tag in tagger.pipeline(str(path), threshold=0, maps=True):
            label = LABELS.index(tag["label"])
            assert tag["score"] == pytest.approx(row[label], abs=1e-6)
            np.testing.assert_allclose(tag["map"], plan[label], atol=5e-5)  # float32, divided by the spread


def test_stages_are_those_of_a_call(tagger: Tagger, images: list[Path]) -> None:
    preset = MultiLabelImageClassificationPipeline(
        model=tagger.model, image_processor=tagger.processor, device="cpu", threshold=0.0, top_k=3
    )
    reading, running, choosing = preset.stages(top_k=2, maps=True)
    outputs = preset.forward(preset.preprocess(images[1], **reading), **running)
    (found, wanted) = (preset.postprocess(outputs, **choosing), preset(images[1], top_k=2, maps=True))
    assert len(found) == 2
    assert content(found) == content(wanted)
    for tag, other in zip(found, wanted, strict=True):
        assert set(tag) == {"label", "score", "map", "box"}
        np.testing.assert_array_equal(tag["map"], other["map"])
    for wrong in (
        {"threshold": {"horse": 1}},
        {"known_labels": {"dog": True}},
        {"labels": NEW, "threshold": {"cat": 1}},
    ):
        with pytest.raises(ValueError, match=r"horse|no states|cat"):
            preset.stages(**wrong)


def test_a_path_is_never_taken_for_an_address(tagger: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a folder's name looks like the beginning of a URL."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("data:image")
    Image.new("RGB", (20, 20), "teal").save("data:image/a.png")
    (found,) = tagger.tag(["data:image/a.png"], threshold=0)
    assert found.error is None
    assert len(found.tags) == len(LABELS)
