"""Where the package keeps what can be made again."""

from pathlib import Path

import pytest

from sct_hf.errors import InputError
from sct_hf.files import cache_folder


def test_the_cache_is_below_the_variable_or_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder("maps") == tmp_path / "caches" / "sct_hf" / "maps"
    monkeypatch.setattr("os.path.expanduser", lambda path: str(path).replace("~", str(tmp_path)))
    for home in ("~", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", f"{home}/.cache" if home else "")
        assert cache_folder("maps") == tmp_path / ".cache" / "sct_hf" / "maps"


@pytest.mark.parametrize("given", [None, "~nobody.of.this.name/.cache"])
def test_without_a_home_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as it is where no home is known
    if given is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    with pytest.raises(InputError) as refused:
        cache_folder("maps")
    assert str(refused.value) == f"XDG_CACHE_HOME is {given!r}, and no home folder is known: set it to a folder"
