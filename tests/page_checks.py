"""What holds of every page, read by Python's own parser."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "img", "input", "br", "hr"}


class ReadPage(HTMLParser):
    """A page: its elements, its text, its scripts and the data of its charts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.data: list[Any] = []
        self.style = ""
        self.texts: list[str] = []
        self._open: list[str] = []
        self.size = path.stat().st_size
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script" and dict(attrs).get("type") is None:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        within = self._open[-1] if self._open else ""
        if within == "style":
            self.style += data
        elif within == "script" and self.elements[-1][1].get("type") == "application/json":
            self.data.append(json.loads(data))
        elif within == "script":
            self.scripts[-1] += data
        elif data.strip():
            self.texts.append(data.strip())

    def attributes(self, name: str) -> list[str]:
        """The values of an attribute, of all elements."""
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


def harmless_page(path: Path, most_bytes: int = 10_000_000) -> ReadPage:
    """Check that a page loads nothing and that only its own scripts may run; return it."""
    page = ReadPage(path)
    assert page.size < most_bytes
    policy = next(attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes) or ""
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert not re.search(r"url\(|@import", page.style)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "a", "svg", "audio", "video")
        assert not [name for name in attributes if name.startswith("on") or name in ("href", "srcset", "action")]
        assert (attributes.get("src") or "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
        assert re.fullmatch(r"--share: [0-9.e-]+", attributes.get("style") or "--share: 0")
    return page
