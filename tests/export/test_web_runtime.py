"""Where onnxruntime-web comes from, and what is said if it is not to be had."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from sct_hf.errors import InputError
from sct_hf.export import web_runtime
from sct_hf.export.web_runtime import VERSION, copy_web_runtime
from tests.export.tiny import RUNTIME_FILES


@pytest.fixture
def package(web_package: Path, tmp_path: Path) -> Path:
    """One that a test may change."""
    return Path(shutil.copytree(web_package, tmp_path / "package"))


def make_npm(folder: Path, lines: str) -> str:
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{lines}\n")
    (folder / "npm").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_folder_gives_what_one_thread_needs_and_the_licence(package: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    copy_web_runtime(str(package), tmp_path / "runtime")
    assert {path.name for path in (tmp_path / "runtime").iterdir()} == RUNTIME_FILES | {
        "LICENSE",
        "ThirdPartyNotices.txt",
    }
    assert "MIT License" in (tmp_path / "runtime" / "LICENSE").read_text()
    assert (tmp_path / "runtime" / "ort.wasm.min.mjs").read_text() == "ort.wasm.min.mjs"


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (None, "which has no package.json of onnxruntime-web"),
        ("[]", "which has no package.json of onnxruntime-web"),
        ('{"name": "onnxruntime-node", "version": "1.0.0"}', "which holds onnxruntime-node 1.0.0"),
        ('{"name": "onnxruntime-web", "version": "0.9"}', "which holds onnxruntime-web 0.9"),
    ],
)
def test_another_folder_is_refused(package: Path, tmp_path: Path, about: str | None, message: str) -> None:
    (package / "package.json").unlink() if about is None else (package / "package.json").write_text(about)
    with pytest.raises(InputError, match=message) as refused:
        copy_web_runtime(str(package), tmp_path / "runtime")
    assert f"npm install onnxruntime-web@{VERSION}" in str(refused.value)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
def test_npm_fetches_the_pinned_version(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        archive.add(package, "package")
    script = f'[ "$1 $2" = "pack onnxruntime-web@{VERSION}" ] && cp {tmp_path}/made.tgz onnxruntime-web.tgz'
    monkeypatch.setenv("PATH", make_npm(tmp_path / "bin", script))
    copy_web_runtime("", tmp_path / "runtime")
    assert {path.name for path in (tmp_path / "runtime").iterdir()} > RUNTIME_FILES


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
def test_what_npm_says_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", make_npm(tmp_path / "bin", "echo 'npm error code ENOTFOUND' >&2; exit 1"))
    with pytest.raises(InputError, match=r"npm error code ENOTFOUND.*connect to its registry, or give web_runtime"):
        copy_web_runtime("", tmp_path / "runtime")


def test_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_runtime.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"there is no npm: install Node\.js"):
        copy_web_runtime("", tmp_path / "runtime")
