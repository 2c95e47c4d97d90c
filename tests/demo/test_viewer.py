"""What the demo shows beside what the pipeline gives when it is called for the same."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from sct_hf.demo.viewer import Viewer, read_labels
from tests.demo.tiny import LABELS, THRESHOLDS

NEW = ["wild boar", "dog", "fire engine"]


@pytest.fixture
def viewer(taggers: dict[str, Any]) -> Viewer:
    return Viewer(taggers["label"])


@pytest.fixture
def passes(taggers: dict[str, Any]) -> Any:
    """How often the models ran."""
    counted: list[str] = []
    hooks = [
        tagger.model.register_forward_hook(lambda *_, kind=kind: counted.append(kind))
        for kind, tagger in taggers.items()
    ]
    yield counted
    for hook in hooks:
        hook.remove()


def test_tags_are_those_of_the_pipeline(viewer: Viewer, taggers: dict[str, Any], image: str) -> None:
    first = viewer.thresholds(LABELS)
    assert list(first.values()) == pytest.approx(THRESHOLDS)
    seen = viewer.look(image, LABELS)
    for thresholds, called in ((first, None), (dict.fromkeys(LABELS, 0.0), 0.0), (first | {"dog": 1.0}, {"dog": 1.0})):
        wanted = {tag["label"]: tag["score"] for tag in taggers["label"](image, threshold=called)}
        found = viewer.tags(seen, thresholds)
        assert found == pytest.approx(wanted, abs=1e-6)
        assert list(found) == list(wanted)
    assert len(viewer.tags(seen, dict.fromkeys(LABELS, 0.0))) == len(LABELS)
    assert viewer.tags(seen, dict.fromkeys(LABELS, 1.0)) == {}


def test_heatmaps_are_those_of_the_pipeline(viewer: Viewer, taggers: dict[str, Any], image: str) -> None:
    seen = viewer.look(image, LABELS)
    wanted = {tag["label"]: tag["heatmap"] for tag in taggers["label"](image, threshold=0.0, heatmaps=True)}
    shown = {name: np.asarray(viewer.heatmap(seen, name)) for name in LABELS}
    for name in LABELS:
        np.testing.assert_array_equal(shown[name], np.asarray(wanted[name]))
    assert any((shown["dog"] != shown[name]).any() for name in LABELS[1:])


def test_the_model_runs_once_a_image(viewer: Viewer, image: str, passes: list[str]) -> None:
    seen = viewer.look(image, LABELS)
    for threshold in (0.0, 0.3, 0.9):
        viewer.tags(seen, dict.fromkeys(LABELS, threshold))
    for name in LABELS:
        viewer.heatmap(seen, name)
    assert passes == ["label"]


def test_other_labels(viewer: Viewer, taggers: dict[str, Any], image: str) -> None:
    assert viewer.closed is None
    seen = viewer.look(image, NEW)
    wanted = taggers["label"](image, labels=NEW, threshold=0.0, heatmaps=True)
    found = viewer.tags(seen, dict.fromkeys(NEW, 0.0))
    assert found == pytest.approx({tag["label"]: tag["score"] for tag in wanted}, abs=1e-6)
    shown = np.asarray(viewer.heatmap(seen, wanted[1]["label"]))
    np.testing.assert_array_equal(shown, np.asarray(wanted[1]["heatmap"]))
    assert viewer.thresholds(NEW) == pytest.approx({"wild boar": 0.5, "dog": THRESHOLDS[0], "fire engine": 0.5})


@pytest.mark.parametrize("kind", ["linear", "peer"])
def test_a_checkpoint_that_takes_no_other_labels_says_so(taggers: dict[str, Any], image: str, kind: str) -> None:
    viewer = Viewer(taggers[kind])
    assert viewer.closed is not None
    assert viewer.closed.startswith("This checkpoint (scorer=")
    assert "scores only the labels it was trained on" in viewer.closed
    with pytest.raises(ValueError, match="scores only the labels"):
        viewer.look(image, NEW)


def test_an_encoder_that_is_not_the_checkpoints_is_noticed_before_a_label_is_typed(taggers: dict[str, Any]) -> None:
    closed = Viewer(taggers["label"], label_encoder="shuffled:random:12").closed
    assert closed is not None
    assert "'shuffled:random:12' does not reproduce the checkpoint's embeddings" in closed


def test_a_model_without_a_plan_has_no_heatmaps(taggers: dict[str, Any], image: str) -> None:
    viewer = Viewer(taggers["peer"])
    seen = viewer.look(image, LABELS)
    wanted = {tag["label"]: tag["score"] for tag in taggers["peer"](image, threshold=0.0)}
    assert viewer.tags(seen, dict.fromkeys(LABELS, 0.0)) == pytest.approx(wanted, abs=1e-6)
    assert not viewer.has_maps
    assert viewer.heatmap(seen, "dog") is None


def test_heatmaps_of_a_large_image_are_smaller(viewer: Viewer, tmp_path: Any) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (3000, 1500), "teal").save(path)
    heatmap = viewer.heatmap(viewer.look(str(path), LABELS), "dog")
    assert heatmap is not None
    assert heatmap.size == (1024, 512)


def test_a_broken_file_is_told_without_its_path(viewer: Viewer, broken: str) -> None:
    with pytest.raises(ValueError, match="This file cannot be read as an image") as caught:
        viewer.look(broken, LABELS)
    assert "broken.jpg" not in str(caught.value)


def test_reading_labels() -> None:
    assert read_labels("horse, wild  boar\nfire engine,, \n") == ["horse", "wild boar", "fire engine"]
    assert read_labels(" ,\n") == []
    with pytest.raises(ValueError, match="“Horse” appears twice"):
        read_labels("horse, cow, Horse")


def test_an_image_over_the_limit_is_told_so(taggers: dict[str, Any], tmp_path: Any, monkeypatch: Any) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "large.png")
    monkeypatch.setattr(taggers["label"], "limits", type(taggers["label"].limits)(max_pixels=1199))
    with pytest.raises(
        ValueError, match=r"^This is too much: the image has 1,200 pixels, more than max_pixels, 1,199"
    ):
        Viewer(taggers["label"]).look(str(tmp_path / "large.png"), LABELS)
