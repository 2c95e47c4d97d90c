"""Limits of the pipeline: what is over one is refused with value, limit and remedy, and before the work."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import pipeline

from sct_hf.model import pipeline_sct
from sct_hf.model.image_processing_sct import LimitError, Limits
from sct_hf.model.pipeline_sct import UnreadableImageError
from tests.model.tagging import LABELS, TASK, expected, named


def make(folder: Path, **limits: int) -> Any:
    return pipeline(TASK, model=str(folder), device="cpu", **limits)


def forms(image: Image.Image, folder: Path) -> list[Any]:
    """An image as PIL, loaded and not, path and base64."""
    path = folder / "image.png"
    image.save(path)
    code = base64.b64encode(path.read_bytes()).decode()
    return [image, Image.open(path), path, str(path), code, f"data:image/png;base64,{code}"]


def test_pixels_of_an_image(folders, tmp_path, monkeypatch) -> None:
    fits, over = make(folders["linear"], max_pixels=6000), make(folders["linear"], max_pixels=5999)
    image = Image.new("RGB", (100, 60), (9, 90, 200))
    wanted = fits(image)
    for form in forms(image, tmp_path):
        assert fits(form) == wanted
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("it is decoded"))
    message = r"the image has 6,000 pixels, more than max_pixels, 5,999: give a smaller one, or raise max_pixels\.$"
    for form in forms(image, tmp_path):
        with pytest.raises(UnreadableImageError, match=message) as caught:
            over(form)
        assert isinstance(caught.value.__cause__, LimitError)


def test_a_list(folders, images, tmp_path) -> None:
    tagger = make(folders["linear"], max_images=4, max_pixels=64 * 64)
    paths = [str(images[0])] * 5
    wanted = [expected(tagger.model, images[0])] * 4
    assert [named(tags) for tags in tagger(paths[:4], threshold=0)] == wanted
    with pytest.raises(LimitError, match="inputs has 5 images, more than max_images, 4: give fewer at a time, or"):
        tagger(paths)
    assert len(list(tagger(path for path in paths))) == 5  # others are not held together
    assert len(list(tagger(tuple(paths)))) == 5
    tagger = make(folders["linear"], max_pixels=64 * 64 - 1)
    for form in forms(Image.new("RGB", (64, 64)), tmp_path):
        message = r"inputs has 20,480 pixels in 5 images, more than 4 times max_pixels, 16,380: give fewer at a time"
        with pytest.raises(LimitError, match=message):
            tagger([form] * 5)


def test_heatmaps(folders, images) -> None:
    tagger = make(folders["linear"], max_images=7)
    path = str(images[0])
    assert len(tagger(path, heatmaps=True, threshold=0)) == len(LABELS)
    assert len(tagger([path] * 2, heatmaps=True, threshold=0, top_k=3)[1]) == 3
    message = "heatmaps of 5 tags are more than max_images allows, 3 for each of 2 images: set top_k or a higher"
    with pytest.raises(LimitError, match=message):
        tagger([path] * 2, heatmaps=True, threshold=0)
    assert len(tagger([path] * 2, maps=True, threshold=0)[1]) == len(LABELS)
    assert all(len(tags) == 5 for tags in tagger((item for item in [path] * 2), heatmaps=True, threshold=0))
    with pytest.raises(LimitError, match=r"heatmaps of 5 tags are more than max_images allows, 4: set"):
        make(folders["linear"], max_images=4)(path, heatmaps=True, threshold=0)


def test_heatmaps_of_a_large_image_are_smaller_and_boxes_are_not(folders) -> None:
    tagger = make(folders["linear"])
    image = Image.effect_noise((3000, 1500), 60).convert("RGB")
    large, small = (tagger(each, heatmaps=True, threshold=0) for each in (image, image.reduce(3)))
    assert {tag["heatmap"].size for tag in large} == {(1024, 512)}
    assert {tag["heatmap"].size for tag in small} == {(1000, 500)}
    plans = tagger(image, maps=True, threshold=0)
    assert [tag["box"] for tag in large] == [tag["box"] for tag in plans]
    assert max(tag["box"]["xmax"] for tag in large) > 1024
    assert image.size == (3000, 1500)


@pytest.mark.parametrize(
    ("labels", "templates", "count"),
    [
        (["horse", "cat", "sea"], None, 3),
        (["horse", "cat", "sea"], ["a {}", "the {}"], 6),
        ({"horse": ["one", "two"], "cat": None, "sea": "the sea"}, None, 4),
        ({"horse": ["one", "two"], "cat": None, "sea": "the sea"}, ["a {}", "the {}", "{}s"], 6),
        (["horse", "x" * 64], None, 2),
        (["horse", "x" * 65], None, 3),
        ([str(number) for number in range(10_000)], None, 10_000),
        (["horse"], ["a {}"] * 10_000, 10_000),
    ],
)
def test_labels_and_their_prompts(folders, bert, images, monkeypatch, labels, templates, count) -> None:
    options = {"labels": labels, "label_templates": templates, "label_encoder": str(bert), "threshold": 0}
    if count < 100:
        assert len(make(folders["label"], max_labels=count)(str(images[0]), **options)) == len(labels)
    monkeypatch.setattr(pipeline_sct, "encode_new_labels", lambda *_: pytest.fail("they are embedded"))
    most = min(count - 1, Limits().max_labels)
    message = f"labels come to {count:,} texts of up to 64 characters, more than max_labels, {most:,}: give fewer"
    with pytest.raises(LimitError, match=message):
        make(folders["label"], max_labels=most)(str(images[0]), **options)


@pytest.mark.parametrize("value", [0, -1, 1.5, "7", True, float("nan")])
def test_a_limit_that_is_none(folders, value: Any) -> None:
    for name in Limits.names():
        with pytest.raises(ValueError, match=re.escape(f"{name} is {value!r}: give a whole number from 1.")):
            make(folders["linear"], **{name: value})


def test_a_call_raises_no_limit(folders, images) -> None:
    with pytest.raises(TypeError, match=r"no argument 'max_pixels': .*limits are given where the pipeline is made"):
        make(folders["linear"])(str(images[0]), max_pixels=10**9)
