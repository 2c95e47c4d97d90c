"""The version of a release is the same in all files that name it."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_version_and_date() -> None:
    headings = re.findall(r"(?m)^## (.+)$", CHANGELOG)
    assert headings[:2] == ["[Unreleased]", f"[{PROJECT['version']}] - {CITATION['date-released']}"]
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]


def test_the_changelog_has_the_groups_of_its_format() -> None:
    groups = re.findall(r"(?m)^### (.+)$", CHANGELOG)
    assert groups
    assert set(groups) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_links_of_the_changelog_lead_to_headings() -> None:
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", CHANGELOG):
        text = (ROOT / file).read_text(encoding="utf-8")
        headings = re.findall(r"(?m)^#+ (.+)$", text)
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]
