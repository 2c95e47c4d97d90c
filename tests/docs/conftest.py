import shutil
from pathlib import Path

import pytest

from tests.docs.project import make_project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the pages name, to copy."""
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    return folder


@pytest.fixture
def here(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the current folder; caches are beside it."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder, symlinks=True)
    monkeypatch.chdir(folder)
    for name in ("XDG_CACHE_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "cache" / name))
    return folder
