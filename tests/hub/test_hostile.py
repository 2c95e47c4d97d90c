"""Requests that mean harm, and many at a time: what they cost, and that each has its answer."""

import base64
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.hub.hostile import answer_by, coded, requests
from tests.model.tagging import save, save_text_encoder

ROOT = Path(__file__).parents[2]
KINDS = ["handler", "pipeline"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that takes other labels."""
    folder = tmp_path_factory.mktemp("tiny")
    encoder = save_text_encoder(folder / "encoder")
    model = save(folder / "model", "label", str(encoder))
    config = json.loads((model / "config.json").read_text())
    config["text_recipe"]["encoder"] = str(encoder)  # a request cannot name one
    (model / "config.json").write_text(json.dumps(config))
    return model


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the requests, a line each."""
    path = tmp_path_factory.mktemp("requests") / "requests.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps(one) + "\n" for one in requests())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_hostile_requests(tiny: Path, lines: Path, kind: str) -> None:
    """In a process of its own, whose memory is its own: each is answered or refused by name."""
    words = [sys.executable, "-m", "tests.hub.hostile", str(tiny), kind]
    one_core = os.environ | {"OMP_NUM_THREADS": "1"}
    with lines.open() as sent:
        done = subprocess.run(words, cwd=ROOT, env=one_core, stdin=sent, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(told["answered"]) >= 100
    assert not {name: text for name, text in told["answered"].items() if text.startswith("no clean answer")}
    assert not {name for name, text in told["answered"].items() if "huggingface.co" in text}
    assert not {name: text[:300] for name, text in told["answered"].items() if len(text) > 1000}
    assert not {name: seconds for name, seconds in told["seconds"].items() if seconds > 10}
    assert told["memory"] < 1.5e9
    whole = {name for name in told["answered"] if ": as large as may be" in name}
    assert {told["answered"][name] for name in whole} <= {f"{count} tags or images" for count in range(6)}


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_threads_get_the_answers_of_one(tiny: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    every: list[dict[str, Any]] = []
    for number in range(8):
        image = coded(Image.fromarray(rng.integers(0, 256, (40 + number, 60, 3), dtype=np.uint8)))
        names = ["horse", "cat", "boat", "wild dog"][: 2 + number % 3]
        every += [
            {"inputs": image, "parameters": {"threshold": 0}},
            {"inputs": image, "parameters": {"threshold": 0, "top_k": 1 + number % 3}},
            {"inputs": image, "parameters": {"threshold": 0, "heatmaps": True}},
            {"inputs": image, "parameters": {"threshold": 0, "labels": names}},
            {"inputs": [image] * (1 + number % 4), "parameters": {"threshold": 0.4}},
            {"inputs": image, "parameters": {"threshold": 2}},
        ]
    answer = answer_by(str(tiny), kind)

    def ask(request: dict[str, Any]) -> Any:
        try:
            return plain(answer(request))
        except ValueError as error:
            return str(error)

    wanted = [ask(request) for request in every]
    assert len({json.dumps(one) for one in wanted}) > 30
    with ThreadPoolExecutor(16) as pool:
        for found, expected in zip(pool.map(ask, every * 3), wanted * 3, strict=True):
            assert found == rounded(expected)


def plain(answer: Any) -> Any:
    """An answer as JSON has it, a heatmap as the mean of its colours."""
    if isinstance(answer, list):
        return [plain(item) for item in answer]
    if "heatmap" not in answer:
        return answer
    given = answer["heatmap"]
    image = Image.open(io.BytesIO(base64.b64decode(given))) if isinstance(given, str) else given
    return answer | {"heatmap": np.asarray(image).mean((0, 1)).tolist()}


def rounded(answer: Any) -> Any:
    """Scores and colours to four digits, by which the order of sums in a processor does not matter."""
    if isinstance(answer, dict):
        return {key: rounded(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [rounded(item) for item in answer]
    return pytest.approx(answer, rel=1e-4) if isinstance(answer, float) else answer
