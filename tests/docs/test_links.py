"""Links of the files that MkDocs does not check: each leads to a file, and to a heading in it."""

from pathlib import Path

import pytest

from sct_hf_cli import command_names
from tests.docs.pages import README, ROOT, anchors, links

FILES = [README, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "model_cards/README.md"))]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    inside = [link for link in links(file.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in inside if not _exists(file, link)] == []


def test_readme_links_to_every_page() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(README.read_text(encoding="utf-8"))}
    beside = {"index.md", "contributing.md"}
    assert {page for page in (ROOT / "docs").glob("*.md") if page.name not in beside} <= linked


def test_every_command_has_a_section() -> None:
    assert set(command_names()) <= anchors((ROOT / "docs" / "commands.md").read_text(encoding="utf-8"))


def test_anchors_are_those_of_github() -> None:
    text = "# Serving and export\n\n## `--head X`, by name\n\n### A graph: labels\n\ntext\n"
    assert anchors(text) == {"serving-and-export", "--head-x-by-name", "a-graph-labels"}


def _exists(file: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = file.parent / path if path else file
    return target.exists() and (not anchor or anchor in anchors(target.read_text(encoding="utf-8")))
