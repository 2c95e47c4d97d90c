"""Publishing to a Hub on this machine, and loading from there without the package: real HTTP, real processes."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants

from sct_hf.errors import InputError
from sct_hf.hub.checks import read_run
from sct_hf.hub.publish import prepared, upload
from sct_hf.hub.repository import assemble, custom_pipelines
from sct_hf.inference.tagger import Tagger
from sct_hf.model.configuration_sct import write_code
from sct_hf_cli import run
from tests.hub.stand_in import OWNER, READER, Hub, environment, running

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "publish.py"
REPO = "me/colours"


@pytest.fixture(scope="module")
def shared_hub() -> Iterator[Hub]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def printed(trained: Path, shared_hub: Hub, image: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What scripts/publish.py printed for the repository that all of this file's strangers load."""
    words = [sys.executable, str(SCRIPT), str(trained), REPO, "--examples", str(image)]
    home = tmp_path_factory.mktemp("publisher")
    variables = environment(shared_hub, home, PYTHONPATH=str(ROOT), TMPDIR=str(home))
    done = subprocess.run(words, env=variables, cwd=home, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert not [path for path in home.iterdir() if path.name.startswith("sct_hf-")]  # nothing is left behind
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def stranger(
    printed: list[str], shared_hub: Hub, image: Path, packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a process without the package found."""
    work = tmp_path_factory.mktemp("stranger")
    source = shared_hub.repos[REPO]
    commit, files = source.refs["main"], source.commits[source.refs["main"]]
    for name in ("me/moved", "me/cut", "me/private", "you/requested"):
        repo = shared_hub.make_repo(name, private=name == "me/private")
        repo.commits[commit] = files
        repo.refs |= {"main": commit, "refs/pr/1": commit}
    shared_hub.repos["me/moved"].commit("main", files | {"modeling_sct.py": b"raise RuntimeError('changed since')\n"})
    shared_hub.cut = {f"me/cut/resolve/{commit}/model.safetensors": 0}

    job = {"repo": REPO, "moved": "me/moved", "cut": "me/cut", "private": "me/private", "requested": "you/requested"}
    (work / "job.json").write_text(json.dumps(job | {"commit": commit, "image": str(image), "work": str(work)}))
    words = [sys.executable, "-S", "-P", str(Path(__file__).with_name("stranger.py"))]
    done = subprocess.run(
        [*words, str(work / "job.json"), str(work / "found.json")],
        env=environment(shared_hub, work / "home", PYTHONPATH=str(packages)),
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((work / "found.json").read_text())


@pytest.fixture(scope="module")
def expected(trained: Path, image: Path) -> dict[str, float]:
    """Scores of the image here, by label."""
    (found,) = Tagger.from_pretrained(trained, "cpu").tag([image], threshold=0)
    return dict(found.tags)


def test_everything_is_one_commit(printed: list[str], shared_hub: Hub, trained: Path) -> None:
    repo = shared_hub.repos[REPO]
    commit = repo.refs["main"]
    assert printed[0] == f"{shared_hub.url}/{REPO}/commit/{commit}"
    assert f'revision="{commit}"' in printed[2]
    assert len(repo.commits) == 2  # the Hub's own first, and ours
    assert not repo.private
    files = repo.commits[commit]
    code = {path.name for path in (ROOT / "sct_hf" / "model").glob("*_sct.py")}
    assert files.keys() >= code | {
        *("README.md", "config.json", "model.safetensors", "preprocessor_config.json", "metrics.json"),
        *("per_label.csv", "examples/noise.png"),
    }
    assert not [name for name in files if name.endswith(".parquet") or name == "training_args.json"]
    assert files["model.safetensors"] == (trained / "model.safetensors").read_bytes()
    auto_map = json.loads(files["config.json"])["auto_map"]
    assert auto_map.keys() >= {"AutoConfig", "AutoModel", "AutoModelForImageClassification"}


def test_the_card_says_what_was_measured(printed: list[str], shared_hub: Hub, trained: Path) -> None:
    repo = shared_hub.repos[REPO]
    _, header, text = repo.commits[repo.refs["main"]]["README.md"].decode().split("---\n", 2)
    data = yaml.safe_load(header)
    metrics = json.loads((trained / "metrics.json").read_text())
    (result,) = data["model-index"][0]["results"]
    assert {item["name"]: item["value"] for item in result["metrics"]}.items() <= metrics.items()
    assert len(result["metrics"]) == 13
    assert result["dataset"]["split"] == "test"
    assert (data["pipeline_tag"], data["library_name"]) == ("image-classification", "transformers")
    assert "base_model" not in data  # it began at random
    assert data["widget"][0]["src"] == f"https://huggingface.co/{REPO}/resolve/main/examples/noise.png"
    assert f"| {100 * metrics['mAP']:.1f} |" in text
    assert metrics["weights_sha256"] in text
    assert str(trained.parent) not in text  # no folder of this machine


def test_a_stranger_gets_the_same_scores(stranger: dict[str, Any], expected: dict[str, float]) -> None:
    assert stranger["package"] is False
    assert stranger["classes"] == ["SCTConfig", "SCTModel", "SCTForMultiLabelClassification"]
    assert stranger["modules"] == ["transformers_modules"]
    here = [expected[name] for name in sorted(expected)]
    assert stranger["scores"] == pytest.approx(here, abs=1e-6)
    assert stranger["task"] == next(iter(custom_pipelines()), "image-classification")
    for name in ("pipeline", "standard pipeline"):
        assert {tag["label"]: tag["score"] for tag in stranger[name]} == pytest.approx(expected, abs=1e-6)


def test_a_pinned_commit_outlives_what_comes_after(stranger: dict[str, Any]) -> None:
    assert "changed since" in stranger["main"]
    assert stranger["pinned"] == stranger["request"] == stranger["scores"]


def test_what_cannot_be_loaded_is_said(stranger: dict[str, Any]) -> None:
    assert stranger["shown"] == "none"
    assert "pass a token having permission to this repo" in stranger["hidden"]
    assert "401 Unauthorized" in stranger["wrong token"]
    assert "me/absent is not a local folder and is not a valid model identifier" in stranger["missing"]
    assert "absent is not a valid git identifier" in stranger["no revision"]


@pytest.mark.parametrize(("name", "healed"), [("cut", "mended"), ("full", "emptied")])
def test_a_broken_download_leaves_nothing_that_passes_for_whole(
    stranger: dict[str, Any], name: str, healed: str
) -> None:
    assert stranger[name] != "none"
    assert "config.json" in stranger[f"after {name}"]
    assert "model.safetensors" not in stranger[f"after {name}"]
    assert stranger[healed] == stranger["scores"]


@pytest.fixture
def here(hub: Hub, talk_to: Callable[[Hub], None]) -> Hub:
    """A Hub that this process talks to."""
    talk_to(hub)
    return hub


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder as `prepared` gives it, in short."""
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / "README.md").write_text("---\nmodel-index:\n- name: x\n  results: [1]\n---\n# x\n")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 4000)
    return folder


def test_private(here: Hub, target: Path) -> None:
    upload(target, REPO, private=True)
    assert here.repos[REPO].private
    here.make_repo("me/open")
    with pytest.raises(InputError, match="private is asked for, but me/open is public"):
        upload(target, "me/open", private=True)
    assert len(here.repos["me/open"].commits) == 1


def test_branch(here: Hub, target: Path) -> None:
    repo = here.make_repo(REPO)
    repo.commit("wip", {})
    commit = upload(target, REPO, revision="wip")
    assert repo.refs["wip"] == commit.oid
    assert repo.commits[repo.refs["main"]].keys() == {".gitattributes"}


def test_pull_request_to_a_repository_of_others(here: Hub, target: Path) -> None:
    repo = here.make_repo("you/theirs")
    commit = upload(target, "you/theirs", create_pr=True)
    assert commit.pr_url == f"{here.url}/you/theirs/discussions/1"
    assert repo.refs["refs/pr/1"] == commit.oid
    assert repo.commits[repo.refs["main"]].keys() == {".gitattributes"}


@pytest.mark.parametrize(
    ("token", "repo", "options", "message"),
    [
        ("hf_wrong", REPO, {}, r"token: http\S+ refuses it"),
        (READER, REPO, {}, "repo is 'me/colours', to which this token may not write"),
        (OWNER, "you/new", {}, "repo is 'you/new', to which this token may not write"),
        (OWNER, "you/absent", {"create_pr": True}, "repo is 'you/absent', which does not exist or is hidden"),
        (OWNER, REPO, {"revision": "absent"}, "revision is 'absent', but me/colours has no such branch"),
    ],
)
def test_what_the_hub_refuses(
    here: Hub, target: Path, monkeypatch: pytest.MonkeyPatch, token: str, repo: str, options: Any, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    here.make_repo(REPO)
    with pytest.raises(InputError, match=message):
        upload(target, repo, **options)
    assert here.repos.keys() == {REPO}
    assert len(here.repos[REPO].commits) == 1
    assert not here.blobs


def test_no_token(here: Hub, target: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match="token is missing: run `hf auth login`"):
        upload(target, REPO)
    assert not here.requests


def test_offline(here: Hub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        upload(target, REPO)


@pytest.mark.parametrize("part", ["/lfs/", "/commit/"])
def test_a_connection_that_breaks_commits_nothing(here: Hub, target: Path, part: str) -> None:
    here.cut = {part: 0}
    with pytest.raises(InputError, match=r"the connection to http\S+ failed .*; publish again"):
        upload(target, REPO)
    assert here.cut[part]
    assert here.repos[REPO].commits[here.repos[REPO].refs["main"]].keys() == {".gitattributes"}
    here.cut.clear()
    commit = upload(target, REPO)
    assert here.repos[REPO].commits[commit.oid]["model.safetensors"] == (target / "model.safetensors").read_bytes()


def test_no_server(target: Path, here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"the connection to http://127.0.0.1:9 failed"):
        upload(target, REPO)


def test_a_full_disk(trained: Path, tmp_path: Path) -> None:
    run = read_run(trained)
    target = tmp_path / "target"
    target.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written to .* \(File too large\): make room"):
            assemble(run, REPO, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="module")
def script() -> Callable[[list[str]], int]:
    return lambda words: run("publish", *words)


@pytest.mark.parametrize(
    ("repo", "words", "message"),
    [
        ("colours", [], "repo is 'colours': give OWNER/NAME"),
        ("me/co lours", [], "repo is 'me/co lours': "),
        (REPO, ["--examples", __file__], "test_publish.py' cannot be read as an image"),
    ],
)
def test_exit_code(
    script: Callable[[list[str]], int],
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    repo: str,
    words: list[str],
    message: str,
) -> None:
    assert script([str(trained), repo, *words]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert message in line


def test_a_dry_run_sends_nothing(
    script: Callable[[list[str]], int],
    trained: Path,
    here: Hub,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sct_hf.hub.repository._check_alone", lambda run, folder: None)
    assert script([str(trained), REPO, "--dry_run", "--private"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("---\nlibrary_name: transformers\n")
    assert f"{(trained / 'model.safetensors').stat().st_size:,}  model.safetensors" in text
    assert "create_repo('me/colours', private=True, exist_ok=True)" in text
    assert not here.requests


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda code: code.replace("import timm", "import sct_hf, timm"), "does not load without sct_hf: .*sct_hf"),
        (
            lambda code: code.replace("pixel_values = pixel_values.to(", "pixel_values = 2 * pixel_values.to("),
            "scores without sct_hf",
        ),
    ],
)
@pytest.mark.slow
def test_a_folder_that_does_not_stand_alone_is_not_published(
    trained: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[str], str], message: str
) -> None:
    def write_spoilt(config: Any, folder: Path) -> None:
        write_code(config, folder)
        file = folder / "backbone_sct.py"
        file.write_text(spoil(file.read_text()))

    monkeypatch.setattr("sct_hf.hub.repository.write_code", write_spoilt)
    with pytest.raises(InputError, match=message), prepared(trained, REPO):
        pass
