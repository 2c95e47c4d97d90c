"""Versions that the project asks for, where more than one file tells them."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ALL = [
    Requirement(text) for text in (*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra))
]


def test_a_published_model_asks_for_what_the_package_asks_for() -> None:
    lines = (ROOT / "sct_hf" / "hub" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    asked = {line for line in lines if not line.startswith("#")}
    assert asked
    assert asked <= set(PROJECT["dependencies"])


def test_a_package_has_one_floor() -> None:
    """`.ci/run --lowest` installs the floors, each as the whole of what is asked for."""
    floors: dict[str, set[str]] = {}
    for requirement in ALL:
        if requirement.name != PROJECT["name"]:
            floors.setdefault(requirement.name.lower().replace("_", "-"), set()).add(str(requirement.specifier))
    assert {name: asked for name, asked in floors.items() if len(asked) > 1} == {}
    unbound = {name for name, asked in floors.items() if not all(re.fullmatch(r">=[\d.]+", one) for one in asked)}
    stubs = {name for name in unbound if name.startswith("types-") or name.endswith("-stubs")}
    assert unbound - stubs == {"ruff"}


def test_what_is_installed_is_what_is_asked_for() -> None:
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert requirement.specifier.contains(version(requirement.name), prereleases=True)
