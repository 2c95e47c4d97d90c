"""A Space, published to a Hub on this machine, and run from there without the package."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gradio_client import Client, handle_file
from huggingface_hub import constants
from PIL import Image

from sct_hf.errors import InputError
from sct_hf.hub.alone import run_alone
from sct_hf.hub.space import prepared_space
from sct_hf.inference.tagger import Tagger
from sct_hf_cli import run
from tests.hub.stand_in import OWNER, Hub, environment

ROOT = Path(__file__).parents[2]
REPO, SPACE = "me/colours", "me/colours-demo"


@pytest.fixture
def script() -> Callable[[list[str]], int]:
    return lambda words: run("publish", *words)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the processes that load what is published."""
    monkeypatch.setattr("sct_hf.hub.repository._check_alone", lambda run, folder: None)
    monkeypatch.setattr("sct_hf.hub.space.run_alone", lambda *words, folder: None)


@pytest.fixture
def here(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A Hub that this process talks to."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", OWNER)
    return hub


def test_a_dry_run_shows_the_space_too(
    script: Callable[[list[str]], int],
    trained: Path,
    here: Hub,
    unchecked: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert script([str(trained), REPO, "--space", SPACE, "--dry_run", "--private"]) == 0
    model, space = capsys.readouterr().out.split("\n\n---\nt")
    assert "create_repo('me/colours', private=True, exist_ok=True)" in model
    assert "app.py" not in model
    for name in ("README.md", "app.py", "demo/interface.py", "demo/viewer.py", "requirements.txt"):
        assert re.search(rf"^ *[\d,]+  {name}$", space, re.MULTILINE)
    assert "create_repo('me/colours-demo', repo_type='space', private=True, exist_ok=True)" in space
    assert not here.requests


def test_the_space_runs_the_commit_that_was_published(
    script: Callable[[list[str]], int],
    trained: Path,
    here: Hub,
    unchecked: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert script([str(trained), REPO, "--space", SPACE, "--private"]) == 0
    model, space = here.repos[REPO], here.repos[f"spaces/{SPACE}"]
    assert model.private
    assert space.private
    files = space.commits[space.refs["main"]]
    assert files.keys() == {
        *(".gitattributes", "README.md", "app.py", "requirements.txt"),
        *("demo/__init__.py", "demo/interface.py", "demo/viewer.py"),
    }
    assert f"REVISION = '{model.refs['main']}'" in files["app.py"].decode()
    data = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert (data["sdk"], data["app_file"], data["models"]) == ("gradio", "app.py", [REPO])
    assert len(data["short_description"]) <= 60  # the Hub takes no more
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith(f"/me/colours/commit/{model.refs['main']}")
    assert printed[-1] == f"{here.url}/spaces/{SPACE}"


def test_a_space_that_is_refused_is_told_apart_from_the_model(
    script: Callable[[list[str]], int],
    trained: Path,
    here: Hub,
    unchecked: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert script([str(trained), REPO, "--space", "you/colours-demo"]) == 2
    out, errors = capsys.readouterr()
    assert f"/me/colours/commit/{here.repos[REPO].refs['main']}" in out
    assert "error: --space is 'you/colours-demo', to which this token may not write; " in errors
    assert here.repos.keys() == {REPO}


def test_what_cannot_be_a_space(
    script: Callable[[list[str]], int], target: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with (
        pytest.raises(InputError, match="space is 'colours': give OWNER/NAME"),
        prepared_space(target, REPO, "colours"),
    ):
        pass
    assert script(["folder", REPO, "--space", SPACE, "--create_pr"]) == 2
    assert "--space needs a commit and cannot be combined with --create_pr" in capsys.readouterr().err
    monkeypatch.setattr("sct_hf.hub.space.run_alone", lambda *words, folder: "ImportError: no page")
    with pytest.raises(InputError, match="cannot be built without sct_hf: ImportError: no page"):  # noqa: SIM117
        with prepared_space(target, REPO, SPACE):
            pass


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The folder of a model, in short."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_a_page_that_needs_the_package_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import sct_hf.inference.tagger\n")
    assert "sct_hf" in (run_alone("load_space.py", tmp_path / "app.py", folder=tmp_path) or "")


@pytest.mark.slow
def test_a_stranger_uses_the_space(trained: Path, hub: Hub, packages: Path, table: Path, tmp_path: Path) -> None:
    """All of it: publish, checks included; take the Space's files, run app.py without the package, tag an image."""
    words = [sys.executable, str(ROOT / "scripts" / "publish.py"), str(trained), REPO, "--space", SPACE]
    home, work = tmp_path / "publisher", tmp_path / "space"
    home.mkdir()
    variables = environment(hub, home, PYTHONPATH=str(ROOT), TMPDIR=str(home))
    done = subprocess.run(words, env=variables, cwd=home, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert not [path for path in home.iterdir() if path.name.startswith("sct_hf-")]  # nothing is left behind

    space, model = hub.repos[f"spaces/{SPACE}"], hub.repos[REPO]
    for name, content in space.commits[space.refs["main"]].items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)
    published = model.commits[model.refs["main"]]
    model.commit("main", published | {"pipeline_sct.py": b"raise RuntimeError('changed since')\n"})
    for line in run_space(work, environment(hub, tmp_path / "home", PYTHONPATH=str(packages), PYTHONUNBUFFERED="1")):
        if address := re.search(r"http://127\.0\.0\.1:\d+", line):
            image = table / "test-0.png"
            client = Client(address[0], verbose=False, download_files=str(tmp_path / "shown"), analytics_enabled=False)
            client.predict(handle_file(image), api_name="/tag")
            tags = client.predict(0, api_name="/threshold")[0]
            _, _, where = client.predict(handle_file(image), api_name="/tag")
            break
    (here,) = Tagger.from_pretrained(trained, "cpu").tag([image], threshold=0)
    assert {row["label"]: row["confidence"] for row in tags["confidences"]} == pytest.approx(dict(here.tags), abs=1e-6)
    with Image.open(where["value"]) as heatmap, Image.open(image) as given:
        assert heatmap.size == given.size


def run_space(folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """What app.py says while it serves."""
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen([sys.executable, "-S", "app.py"], cwd=folder, env=variables, **pipes)
    printed = []
    try:
        assert process.stdout
        for line in process.stdout:
            printed.append(line)
            yield line
        raise AssertionError("".join(printed))
    finally:
        process.terminate()
        process.communicate()
