"""The example for LitServe over HTTP: many clients at once, some of them with requests that cannot be answered."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

import sct_hf  # noqa: F401

pytest.importorskip("litserve", reason="the server needs litserve")
SERVER = Path(__file__).parents[2] / "docs" / "examples" / "litserve" / "server.py"
SECONDS = 120
Ask = Callable[[Any], tuple[int, Any]]


@pytest.fixture(scope="module")
def ask(checkpoint: Path) -> Iterator[Ask]:
    """Send a request to the server in a process of its own; return status and answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def send(body: Any, method: str = "POST", path: str = "/predict") -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith("{") else text

    words = [sys.executable, SERVER, "--model", str(checkpoint), "--port", str(port), "--wait", "0.05"]
    with subprocess.Popen(words, env=os.environ | {"HF_HUB_OFFLINE": "1"}, start_new_session=True) as process:
        try:
            started = time.monotonic()
            while not _is_healthy(send):
                assert process.poll() is None
                assert time.monotonic() - started < SECONDS
            yield send
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too


def _is_healthy(send: Any) -> bool:
    try:
        return send(None, "GET", "/health")[0] == 200
    except OSError:
        return False


def request(path: Path, **parameters: Any) -> dict[str, Any]:
    return {"inputs": base64.b64encode(path.read_bytes()).decode(), "parameters": parameters}


def test_32_clients_at_once(ask: Ask, checkpoint: Path, images: Path) -> None:
    """Each gets the tags of its own image and its own threshold; a bad request spoils no other of its batch."""
    paths = sorted(images.glob("*.png"))
    tagger = pipeline("multi-label-image-classification", model=str(checkpoint))
    jobs = [(paths[number % len(paths)], number / 32) for number in range(32)]
    bad = request(SERVER)  # no image
    with ThreadPoolExecutor(48) as clients:
        good = [clients.submit(ask, request(path, threshold=least)) for path, least in jobs]
        refused = [clients.submit(ask, bad) for _ in range(16)]
        answers = [future.result() for future in good]
        errors = [future.result() for future in refused]
    for (path, least), (status, answer) in zip(jobs, answers, strict=True):
        expected = tagger(str(path), threshold=least)
        assert status == 200
        assert [tag["label"] for tag in answer["tags"]] == [tag["label"] for tag in expected]
        assert [tag["score"] for tag in answer["tags"]] == pytest.approx([tag["score"] for tag in expected], abs=1e-5)
    assert len({len(answer["tags"]) for _, answer in answers}) > 1
    assert {status for status, _ in errors} == {422}
    assert all("cannot be read" in answer["error"] for _, answer in errors)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([1], "inputs"),
        ({"image": "x"}, "inputs"),
        ({"inputs": "/etc/passwd"}, "base64"),
        ({"inputs": 5}, "base64"),
        ({"inputs": "", "parameters": {"heatmaps": True}}, "profile"),
        ({"inputs": "", "parameters": {"threshold": 3}}, "threshold is 3"),
    ],
    ids=str,
)
def test_a_bad_request_is_told_why(ask: Ask, body: Any, reason: str) -> None:
    status, answer = ask(body)
    assert status == 422
    assert reason in answer["error"]
