"""handler.py as the endpoint runtime uses it: a fresh process, a folder without sct_hf, JSON in, JSON out."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sct_hf
from sct_hf import build_model, encode_labels, image_processor
from sct_hf.hub import handler
from sct_hf.hub.repository import auto_map, custom_pipelines
from sct_hf.model.configuration_sct import write_code

TASK = "multi-label-image-classification"
LABELS = ["dog", "cat", "boat"]
CODE = Path(sct_hf.__file__).parent
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)

# What the runtime does with a folder, requests on standard input, one a line, with the image types it would make.
RUNTIME = """
import importlib.util, io, json, sys, base64
sys.modules["sct_hf"] = None
from PIL import Image
sys.path.insert(0, sys.argv[1])
spec = importlib.util.spec_from_file_location("handler", sys.argv[1] + "/handler.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
handler = module.EndpointHandler(sys.argv[1])
for line in sys.stdin:
    request = json.loads(line)
    sent = request.pop("sent_as", None)
    if sent:
        raw = base64.b64decode(request["inputs"])
        request["inputs"] = raw if sent == "bytes" else Image.open(io.BytesIO(raw)).convert("RGB")
    try:
        print(json.dumps(handler(request)), flush=True)
    except Exception as error:
        print(json.dumps({"error": str(error)}), flush=True)
"""


def encoded(pixels: np.ndarray = PIXELS) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A repository as it is published."""
    target = tmp_path_factory.mktemp("repository")
    torch.manual_seed(0)
    fields = {"hidden_size": 32, "encoder_ffn_dim": 48, "encoder_attention_heads": 4}
    text = encode_labels(LABELS, "random:12")
    model = build_model("test_resnet", LABELS, image_size=64, label_vectors=text, scorer="label", **fields)
    model(torch.randn(8, 3, 64, 64))
    model.save_pretrained(target)
    processor = image_processor(model.config)
    processor.save_pretrained(target)
    for path in (*CODE.glob("model/*_sct.py"), CODE / "hub/handler.py"):
        shutil.copy(path, target)
    entry = {"impl": "pipeline_sct.MultiLabelImageClassificationPipeline", "pt": ["AutoModelForImageClassification"]}
    add = {
        "config.json": {
            "auto_map": {
                "AutoConfig": "configuration_sct.SCTConfig",
                "AutoModelForImageClassification": "modeling_sct.SCTForMultiLabelClassification",
            },
            "custom_pipelines": {TASK: entry | {"type": "image"}},
        }
    }
    module = type(processor).__module__
    if module.startswith("sct_hf."):
        reference = f"{module.rpartition('.')[2]}.{type(processor).__name__}"
        add["preprocessor_config.json"] = {"auto_map": {"AutoImageProcessor": reference}}
    for name, fields in add.items():
        content = json.loads((target / name).read_text())
        (target / name).write_text(json.dumps(content | fields))
    return target


@pytest.fixture(scope="module")
def ask(folder, tmp_path_factory) -> Iterator[Callable[..., Any]]:
    """Send a request to the process and return its answer."""
    settings = {"HF_MODULES_CACHE": str(tmp_path_factory.mktemp("modules")), "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-P", "-c", RUNTIME, str(folder)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=os.environ | settings, cwd=folder, **pipes) as process:

        def send(**request: Any) -> Any:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield send
        process.stdin.close()
        assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def wanted(folder) -> dict[str, float]:
    model = sct_hf.SCTForMultiLabelClassification.from_pretrained(folder)
    pixels = image_processor(model.config)(images=Image.fromarray(PIXELS), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        scores = model(pixels).logits.sigmoid()[0].tolist()
    return {name: pytest.approx(score, abs=1e-5) for name, score in zip(LABELS, scores, strict=True)}


def scores(tags: list[dict[str, Any]]) -> dict[str, float]:
    assert [tag["score"] for tag in tags] == sorted((tag["score"] for tag in tags), reverse=True)
    return {tag["label"]: tag["score"] for tag in tags}


def test_a_image_in_every_form(ask, wanted) -> None:
    every = {"threshold": 0}
    assert scores(ask(inputs=encoded(), parameters=every)) == wanted
    assert scores(ask(inputs=f"data:image/png;base64,{encoded()}", parameters=every)) == wanted
    assert scores(ask(inputs=encoded(), sent_as="bytes", parameters=every)) == wanted
    assert scores(ask(inputs=encoded(), sent_as="PIL", parameters=every)) == wanted
    two = ask(inputs=[encoded(), encoded(255 - PIXELS)], parameters=every)
    assert scores(two[0]) == wanted
    assert scores(two[1]) != wanted


def test_parameters(ask, wanted) -> None:
    order = sorted(LABELS, key=lambda name: -wanted[name].expected)
    assert list(scores(ask(inputs=encoded(), parameters={"threshold": 0, "top_k": 2}))) == order[:2]
    one = {"threshold": {name: float(name != order[1]) for name in LABELS}}
    assert list(scores(ask(inputs=encoded(), parameters=one))) == [order[1]]
    limit = str(wanted[order[1]].expected - 1e-4)  # a query gives text
    assert list(scores(ask(inputs=encoded(), parameters={"threshold": limit}))) == order[:2]
    by_half = [name for name in order if wanted[name].expected >= 0.5]
    assert list(scores(ask(inputs=encoded()))) == by_half


def test_parameters_as_text_of_a_query(ask, wanted) -> None:
    order = sorted(LABELS, key=lambda name: -wanted[name].expected)
    tags = ask(inputs=encoded(), parameters={"threshold": "0", "top_k": "2", "heatmaps": "true"})
    assert [tag["label"] for tag in tags] == order[:2]
    assert all("heatmap" in tag for tag in tags)
    assert not any("heatmap" in tag for tag in ask(inputs=encoded(), parameters={"heatmaps": "False"}))
    cases = {
        "top_k is 'two'": {"top_k": "two"},
        "top_k is 0": {"top_k": "0"},
        "heatmaps is 'yes'": {"heatmaps": "yes"},
        "known_labels is 'dog'": {"known_labels": "dog"},
    }
    for message, parameters in cases.items():
        assert message in ask(inputs=encoded(), parameters=parameters)["error"], message


def test_known_labels_are_passed_on(ask) -> None:
    for known in ({"dog": True}, '{"dog": true}'):
        found = ask(inputs=encoded(), parameters={"known_labels": known})
        assert "known_labels are of no use to this model" in found["error"]  # whose labels have no states
    assert "known_labels is [1]" in ask(inputs=encoded(), parameters={"known_labels": [1]})["error"]


def test_known_labels_inform_the_others(tmp_path, monkeypatch) -> None:
    """Of a checkpoint that takes them, published with its own code."""
    torch.manual_seed(0)
    fields = {"hidden_size": 32, "encoder_ffn_dim": 48, "encoder_attention_heads": 4, "head": "sct_known_labels"}
    model = build_model(
        "test_resnet", LABELS, image_size=64, label_vectors=encode_labels(LABELS, "random:12"), **fields
    )
    model.eval().save_pretrained(tmp_path)
    processor = image_processor(model.config)
    processor.save_pretrained(tmp_path)
    write_code(model.config, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"auto_map": auto_map(model.config), "custom_pipelines": custom_pipelines()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    pixels = processor(images=Image.fromarray(PIXELS), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        before = model(pixels).logits.sigmoid()[0].tolist()
        after = model(pixels, known=torch.tensor([[1, 0, -1]])).logits.sigmoid()[0].tolist()
    assert abs(after[2] - before[2]) > 1e-4
    answers = handler.EndpointHandler(str(tmp_path))
    for known in ({"dog": True, "cat": False}, '{"dog": true, "cat": false}'):
        found = scores(answers({"inputs": encoded(), "parameters": {"known_labels": known, "threshold": 0}}))
        assert found == pytest.approx(dict(zip(LABELS, after, strict=True)), abs=1e-5)
        assert (found["dog"], found["cat"]) == (pytest.approx(1), pytest.approx(0, abs=1e-6))


def test_heatmaps_are_png_files_in_base64(ask) -> None:
    (tag,) = ask(inputs=encoded(), parameters={"threshold": 0, "top_k": 1, "heatmaps": True})
    with Image.open(io.BytesIO(base64.b64decode(tag["heatmap"]))) as image:
        assert (image.format, image.size) == ("PNG", (60, 40))
    assert set(tag["box"]) == {"xmin", "ymin", "xmax", "ymax"}


def test_what_cannot_be_answered_is_said(ask, folder) -> None:
    cases = {
        "inputs is missing": {},
        "no 'limit', only": {"inputs": encoded(), "parameters": {"limit": 1}},
        "no 'label_encoder', only": {"inputs": encoded(), "parameters": {"label_encoder": "bert-base-uncased"}},
        "parameters is [1]": {"inputs": encoded(), "parameters": [1]},
        "threshold is 'high'": {"inputs": encoded(), "parameters": {"threshold": "high"}},
        "threshold is 2": {"inputs": encoded(), "parameters": {"threshold": 2}},
        "not base64": {"inputs": str(folder / "config.json")},
        "image cannot be read": {"inputs": base64.b64encode(b"no image").decode()},
        "holds a int": {"inputs": 7},
        "fetches no URL": {"inputs": "http://127.0.0.1/a.png"},
        "inputs has 65 images, more than max_images, 64: give fewer": {"inputs": [encoded()] * 65},
        "known_labels is '[[[": {"inputs": encoded(), "parameters": {"known_labels": "[" * 100_000}},
        "need the package sct_hf": {"inputs": encoded(), "parameters": {"labels": ["horse"]}},
    }
    for message, request in cases.items():
        assert message in ask(**request)["error"], message
    assert scores(ask(inputs=encoded(), parameters={"threshold": 0}))  # and the process goes on


class _Server(BaseHTTPRequestHandler):
    """Serves /image, and sends /to/HOST on to the image at HOST."""

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", f"http://{self.path[4:]}:{self.server.server_port}/image")
            self.end_headers()
            return
        content = {"/image": base64.b64decode(encoded()), "/large": b"x" * 30_000}.get(self.path)
        self.send_response(200 if content else 404)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch) -> Iterator[str]:
    """A server of this machine, while URLs are allowed; 127.0.0.1 counts as public, 127.0.0.2 does not."""
    check = handler._check_public
    monkeypatch.setattr(handler, "_check_public", lambda *found: check(*(a for a in found if a != "127.0.0.1")))
    monkeypatch.setenv(handler.URLS, "1")
    server = ThreadingHTTPServer(("", 0), _Server)
    threading.Thread(target=server.serve_forever).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_url_is_fetched_where_that_is_allowed(address, monkeypatch) -> None:
    for path in ("image", "to/127.0.0.1"):
        np.testing.assert_array_equal(np.asarray(handler.read_image(f"http://{address}/{path}")), PIXELS)
    monkeypatch.setenv(handler.URLS, "0")
    with pytest.raises(ValueError, match="fetches no URL"):
        handler.read_image(f"http://{address}/image")


def test_a_url_that_leads_into_a_private_network_is_refused(address, monkeypatch) -> None:
    port = address.rpartition(":")[2]
    for url in (
        f"http://127.0.0.2:{port}/image",
        f"http://{address}/to/127.0.0.2",
        "https://[::1]/",
        "http://10.0.0.1",
    ):
        with pytest.raises(ValueError, match="not on the public internet"):
            handler.read_image(url)
    # A name that is public when it is looked up, and leads elsewhere when it is connected to.
    lookup = handler.socket.getaddrinfo
    asked = []

    def rebinding(host: str, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return lookup("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *arguments, **options)

    monkeypatch.setattr(handler.socket, "getaddrinfo", rebinding)
    with pytest.raises(ValueError, match="not on the public internet"):
        handler.read_image(f"http://rebinding.example:{port}/image")
    assert len(asked) == 2


def test_limits_of_a_url(address, monkeypatch) -> None:
    monkeypatch.setattr(handler, "_MAX_BYTES", 20_000)
    monkeypatch.setattr(handler, "_REDIRECTS", 0)
    cases = {"large": "more than 20,000 bytes", "to/127.0.0.1": "redirects more than 0 times", "absent": "404"}
    for path, message in cases.items():
        with pytest.raises(ValueError, match=message):
            handler.read_image(f"http://{address}/{path}")
    monkeypatch.setattr(handler, "_SECONDS", 0.2)
    with handler.socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ValueError, match="timed out"):
        handler.read_image(f"http://127.0.0.1:{silent.getsockname()[1]}/")


@pytest.mark.parametrize("address_", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00::1"])
def test_private_addresses(address_: str) -> None:
    handler._check_public("1.1.1.1", "2606:4700::1111")
    with pytest.raises(ValueError, match="public"):
        handler._check_public("1.1.1.1", address_)


@pytest.mark.parametrize("payload", [[1], "image", None, 7])
def test_a_payload_that_is_no_object_is_refused(folder, payload) -> None:
    with pytest.raises(ValueError, match="inputs is missing: send"):
        handler.EndpointHandler(str(folder))(payload)


def test_limits_are_those_of_the_environment(folder, monkeypatch) -> None:
    for name, value in {"PIXELS": "2399", "IMAGES": "3", "LABELS": "2"}.items():
        monkeypatch.setenv(f"SCT_ENDPOINT_MAX_{name}", value)
    answers = handler.EndpointHandler(str(folder))
    assert vars(answers.pipeline.limits) == {"max_pixels": 2399, "max_images": 3, "max_labels": 2}
    for source in (encoded(), base64.b64decode(encoded()), Image.fromarray(PIXELS)):
        for inputs in (source, [source]):
            with pytest.raises(ValueError, match="the image has 2,400 pixels, more than max_pixels, 2,399"):
                answers({"inputs": inputs})
    small = encoded(PIXELS[:30])
    assert len(answers({"inputs": [small] * 3})) == 3
    with pytest.raises(ValueError, match="inputs has 4 images, more than max_images, 3"):
        answers({"inputs": [small] * 4})
    with pytest.raises(ValueError, match="labels come to 3 texts of up to 64 characters, more than max_labels, 2"):
        answers({"inputs": small, "parameters": {"labels": LABELS}})
    with pytest.raises(ValueError, match="heatmaps of 3 tags are more than max_images allows, 1 for each of 2 images"):
        answers({"inputs": [small] * 2, "parameters": {"heatmaps": True, "threshold": 0}})
    assert len(answers({"inputs": small, "parameters": {"heatmaps": True, "threshold": 0}})) == 3
    monkeypatch.setenv("SCT_ENDPOINT_MAX_IMAGES", "many")
    with pytest.raises(ValueError, match="SCT_ENDPOINT_MAX_IMAGES is 'many': give a whole number from 1"):
        handler.EndpointHandler(str(folder))


@pytest.mark.parametrize("form", ["base64", "PIL"])
def test_nothing_over_the_limit_is_decoded(folder, monkeypatch, form) -> None:
    answers = handler.EndpointHandler(str(folder))
    file = io.BytesIO()
    Image.new("1", (7000, 7000)).save(file, "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("it is decoded"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("it is decoded"))
    image = base64.b64encode(file.getvalue()).decode() if form == "base64" else Image.open(file)
    with pytest.raises(ValueError, match="the image has 49,000,000 pixels, more than max_pixels, 26,000,000"):
        answers({"inputs": image})
    with pytest.raises(ValueError, match="inputs has 1,960,000,000 pixels in 40 images, more than 4 times max_pixels"):
        answers({"inputs": [image] * 40})


@pytest.mark.parametrize("parameters", [{}, {"heatmaps": True}])
def test_images_of_a_list_are_decoded_as_they_are_scored(folder, monkeypatch, parameters) -> None:
    """No more of them are held than one forward pass takes."""
    answers = handler.EndpointHandler(str(folder))
    read, most = [], []
    decode = handler.read_image

    def count(*_: object) -> None:
        most.append(len(read))
        read.clear()

    answers.pipeline.model.register_forward_hook(count)
    monkeypatch.setattr(handler, "read_image", lambda *given: (read.append(1), decode(*given))[1])
    found = answers({"inputs": [encoded()] * 20, "parameters": parameters})
    assert len(found) == 20
    assert sum(most) == 20
    assert max(most) <= (1 if parameters else handler._BATCH) + 1  # the pipeline looks at the first one beforehand
