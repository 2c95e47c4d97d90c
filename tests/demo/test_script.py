"""scripts/demo.py: what it serves, and what it says when it cannot."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from sct_hf_cli import run

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo.py"


@pytest.fixture(scope="module")
def demo() -> Callable[[list[str]], int]:
    return lambda words: run("demo", *words)


def test_its_limits(
    demo: Callable[[list[str]], int],
    folders: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(gr.Blocks, "launch", lambda page, **options: None)
    monkeypatch.setattr("sct_hf.demo.interface.build", lambda tagger, *_, **__: (made.append(tagger), gr.Blocks())[1])
    assert demo([f"--model={folders['linear']}", "--max_pixels=1000", "--max_labels=7"]) == 0
    assert vars(made[0].limits) == {"max_pixels": 1000, "max_images": 64, "max_labels": 7}
    assert demo([f"--model={folders['linear']}", "--max_images=-1"]) == 2
    assert capsys.readouterr().err.startswith("error: --max_images is -1: give a whole number from 1")


def test_it_is_served_on_this_machine_only_unless_told_otherwise(
    demo: Callable[[list[str]], int], folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[dict[str, Any]] = []
    monkeypatch.setattr(gr.Blocks, "launch", lambda page, **options: served.append(options))
    assert demo([f"--model={folders['linear']}"]) == 0
    assert demo([f"--model={folders['linear']}", "--share", "--port=7999"]) == 0
    assert [(options["share"], options["server_port"]) for options in served] == [(False, None), (True, 7999)]
    assert all("server_name" not in options for options in served)  # gradio's own: 127.0.0.1


def test_a_port_in_use(
    demo: Callable[[list[str]], int], folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert demo([f"--model={folders['linear']}", f"--port={taken.getsockname()[1]}"]) == 2
    assert "error: --port: " in capsys.readouterr().err


def test_no_model(demo: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(["--model=./absent"]) == 2
    assert "error: --model: './absent' cannot be loaded" in capsys.readouterr().err


def test_no_gradio(
    demo: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "sct_hf.demo.interface", raising=False)
    assert demo([]) == 2
    assert (
        'error: sct-hf demo needs gradio, which is not installed: pip install "sct_hf[demo]"'
        in capsys.readouterr().err
    )
