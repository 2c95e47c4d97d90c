"""The page through its server: HTTP on this machine, as a browser speaks it, without one."""

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from sct_hf.demo.interface import LAUNCH, Answers, build, example_images
from sct_hf.demo.viewer import Viewer
from tests.demo.tiny import LABELS, THRESHOLDS
from tests.hostile import HOSTILE_NAMES


@pytest.fixture(scope="module")
def server(taggers: dict[str, Any]) -> Iterator[str]:
    """The address of a page of the checkpoint with `scorer="label"`."""
    page = build(taggers["label"], "`tiny`")
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    yield url
    page.close(verbose=False)


@pytest.fixture
def client(server: str, tmp_path: Path) -> Client:
    """A visitor, new to the page."""
    return Client(server, verbose=False, download_files=str(tmp_path), analytics_enabled=False)


@pytest.fixture
def passes(taggers: dict[str, Any]) -> Iterator[list[int]]:
    """One entry a forward pass."""
    counted: list[int] = []
    hook = taggers["label"].model.register_forward_hook(lambda *_: counted.append(1))
    yield counted
    hook.remove()


def scores(label: dict[str, Any]) -> dict[str, float]:
    """What a bar of the page shows, by label, in the order of the bars."""
    return {row["label"]: row["confidence"] for row in (label or {}).get("confidences") or []}


def test_a_image_gets_tags_and_the_heatmap_of_the_best(client: Client, taggers: dict[str, Any], image: str) -> None:
    tags, line, mark, where = client.predict(handle_file(image), api_name="/tag")
    assert "nth-of-type(1)" in mark  # the best tag, of which the heatmap is
    wanted = taggers["label"](image, heatmaps=True)
    assert 0 < len(wanted) < len(LABELS)  # the checkpoint's thresholds tell labels apart
    assert scores(tags) == pytest.approx({tag["label"]: tag["score"] for tag in wanted}, abs=1e-6)
    assert line == f"{len(wanted)} of 4 labels reach their threshold."
    assert where["label"] == f"Where “{wanted[0]['label']}” was seen"
    with Image.open(where["value"]) as shown:  # a lossy file
        assert np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(wanted[0]["heatmap"])).mean() < 8


def test_thresholds_move_without_the_model(client: Client, image: str, passes: list[int]) -> None:
    client.predict(handle_file(image), api_name="/tag")
    assert scores(client.predict(0, api_name="/threshold")[0]).keys() == set(LABELS)
    tags, line, mark = client.predict(1, api_name="/threshold")
    assert scores(tags) == {}
    assert (line, mark) == ("0 of 4 labels reach their threshold.", "")
    assert len(passes) == 1
    tags, _, _, where = client.predict(handle_file(image), api_name="/tag")  # they hold for the next image
    assert scores(tags) == {}
    assert where["value"] is None


def test_visitors_do_not_see_each_other(server: str, client: Client, image: str) -> None:
    client.predict(handle_file(image), api_name="/tag")
    other = Client(server, verbose=False, analytics_enabled=False)
    assert scores(other.predict(0, api_name="/threshold")[0]) == {}


def test_a_click_shows_that_tags_heatmap(server: str, image: str, taggers: dict[str, Any]) -> None:
    with httpx.Client(base_url=server.rstrip("/"), timeout=100) as browser:
        functions = {item["api_name"]: item["id"] for item in browser.get("/config").json()["dependencies"]}
        (path,) = browser.post("/gradio_api/upload", files={"files": Path(image).read_bytes()}).json()
        upload = {"path": path, "meta": {"_type": "gradio.FileData"}}
        call(browser, functions["tag"], [upload, None, None])
        click = {"index": 1, "value": "cat", "selected": True}
        _, mark, answer = call(browser, functions["heatmap"], [None], click)["data"]
        assert "nth-of-type(2)" in mark
        assert answer["label"] == "Where “cat” was seen"
        file = browser.get(f"/gradio_api/file={answer['value']['path']}").raise_for_status().content
    shown = Image.open(io.BytesIO(file))
    wanted = {tag["label"]: tag["heatmap"] for tag in taggers["label"](image, threshold=0.0, heatmaps=True)}
    apart = {
        name: np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(heatmap)).mean()
        for name, heatmap in wanted.items()
    }
    assert min(apart, key=lambda name: apart[name]) == "cat"
    assert apart["cat"] < 8


def test_other_labels_and_back(client: Client, taggers: dict[str, Any], image: str) -> None:
    new = ["wild boar", "fire engine", "dog"]
    tags, line, _, _ = client.predict(handle_file(image), "wild boar,  fire engine\ndog", api_name="/labels")[1:]
    thresholds = {"wild boar": 0.5, "fire engine": 0.5, "dog": THRESHOLDS[0]}
    wanted = {tag["label"]: tag["score"] for tag in taggers["label"](image, labels=new, threshold=thresholds)}
    assert scores(tags) == pytest.approx(wanted, abs=1e-6)
    assert line == f"{len(wanted)} of 3 labels reach their threshold."
    assert scores(client.predict(0, api_name="/threshold")[0]).keys() == set(new)
    client.predict(handle_file(image), " ", api_name="/labels")
    assert scores(client.predict(0, api_name="/threshold")[0]).keys() == set(LABELS)


def test_errors_of_the_user_are_messages(
    client: Client, image: str, broken: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AppError, match="This file cannot be read as an image"):
        client.predict(handle_file(broken), api_name="/tag")
    with pytest.raises(AppError, match="There is no image yet"):
        client.predict(None, "horse", api_name="/labels")
    with pytest.raises(AppError, match="“dog” appears twice"):
        client.predict(handle_file(image), "dog, cat, dog", api_name="/labels")
    assert "Traceback" not in "".join(capfd.readouterr())
    tags, line, mark, where = client.predict(None, api_name="/tag")  # an image taken away is no error
    assert (scores(tags), line, mark, where["value"]) == ({}, "", "", None)


def test_files_of_the_server_are_not_read(server: str, image: str) -> None:
    with httpx.Client(base_url=server.rstrip("/"), timeout=100) as browser:
        functions = {item["api_name"]: item["id"] for item in browser.get("/config").json()["dependencies"]}
        upload = {"path": image, "meta": {"_type": "gradio.FileData"}}  # never uploaded
        answer = call(browser, functions["tag"], [upload, None, None], fails=True)
    assert "data" not in answer


def test_only_what_the_checkpoint_can_do_is_shown(taggers: dict[str, Any]) -> None:
    components = {
        kind: {item["props"].get("label"): item["props"] for item in build(tagger, kind).config["components"]}
        for kind, tagger in taggers.items()
    }
    asked = {kind: items["Other labels"]["visible"] for kind, items in components.items()}
    assert asked == {"label": True, "linear": False, "peer": False}
    shown = {kind: items["Where a tag was seen"]["visible"] for kind, items in components.items()}
    assert shown == {"label": True, "linear": True, "peer": False}


class Hostile:
    """A tagger whose labels, and whose reason to take no others, are more than text."""

    label_names = HOSTILE_NAMES
    model = SimpleNamespace(config=SimpleNamespace(text_recipe={"words": HOSTILE_NAMES}))
    gives_maps = True
    THRESHOLD = 0.5

    def thresholds(self, names: list[str], *_: Any) -> list[float]:
        return [0.5] * len(names)

    def stages(self, **options: Any) -> None:
        raise ValueError(f"labels: no {''.join(HOSTILE_NAMES)}")


def test_names_are_text_on_the_page() -> None:
    """Neither Markdown nor HTML is made of labels: those of a checkpoint, or those that are typed."""
    tagger = Hostile()
    items = build(tagger, "`name`").config["components"]
    rendered = [item["props"].get("value") for item in items if item["type"] in ("markdown", "html")]
    rendered += [item["props"].get("info") for item in items]
    texts = [text for text in rendered if isinstance(text, str)]
    assert any("labels" in text for text in texts)
    assert not [name for name in HOSTILE_NAMES for text in texts if name in text]
    with pytest.raises(gr.Error) as raised:
        Answers(Viewer(tagger)).relabel(None, "<img src=x>, <img src=x>", [], {})
    assert raised.value.message.startswith("“&lt;img src=x&gt;” appears twice")


def test_the_mark_follows_its_tag(taggers: dict[str, Any], image: str) -> None:
    viewer = Viewer(taggers["label"])
    answers, seen = Answers(viewer), viewer.look(image, LABELS)
    every = list(viewer.tags(seen, dict.fromkeys(LABELS, 0.0)))
    chosen = every[2]
    _, _, mark = answers.tags(seen, dict.fromkeys(LABELS, 0.0), chosen)
    assert "nth-of-type(3)" in mark
    _, _, mark = answers.tags(seen, dict.fromkeys(LABELS, 0.0) | {every[0]: 1.0}, chosen)
    assert "nth-of-type(2)" in mark
    _, _, mark = answers.tags(seen, dict.fromkeys(LABELS, 0.0) | {chosen: 1.0}, chosen)
    assert mark == ""


def test_tags_are_written_in_the_words_of_the_checkpoint(
    taggers: dict[str, Any], image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = ["a dog", "a cat", "some lights", "a boat"]
    monkeypatch.setattr(taggers["label"].model.config, "text_recipe", {"words": written})
    viewer = Viewer(taggers["label"])
    answers, seen = Answers(viewer), viewer.look(image, LABELS)
    tags, _, _ = answers.tags(seen, dict.fromkeys(LABELS, 0.0), None)
    scored = viewer.tags(seen, dict.fromkeys(LABELS, 0.0))
    assert tags == {written[LABELS.index(name)]: score for name, score in scored.items()}
    chosen, _, heatmap = answers.select(seen, gr.SelectData(None, {"index": 0, "value": "some lights"}))
    assert chosen == "traffic light"
    assert heatmap.label == "Where “some lights” was seen"
    monkeypatch.setattr(taggers["label"].model.config, "text_recipe", {"words": ["same"] * 4})
    assert Viewer(taggers["label"]).written(LABELS) == LABELS  # words that do not tell labels apart


def test_example_images_can_be_tagged(taggers: dict[str, Any]) -> None:
    (path,) = example_images()
    assert Viewer(taggers["label"]).look(path, LABELS).names == LABELS
    examples = [item for item in build(taggers["label"], "x").config["components"] if item["type"] == "dataset"]
    assert len(examples) == 1


SESSIONS = itertools.count()


def call(
    browser: httpx.Client, function: int, data: list[Any], event_data: Any = None, fails: bool = False
) -> dict[str, Any]:
    """What an event of the page gives, in one session for each `browser`."""
    session = browser.headers.setdefault("X-Session", f"session-{next(SESSIONS)}")
    event = {"fn_index": function, "data": data, "event_data": event_data, "session_hash": session}
    browser.post("/gradio_api/queue/join", json=event).raise_for_status()
    with browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as lines:
        for text in lines.iter_lines():
            message = json.loads(text.removeprefix("data: ")) if text else {}
            if message.get("msg") == "process_completed":
                assert message["success"] is not fails, message
                return message["output"]
    raise AssertionError("the page gave no answer")
