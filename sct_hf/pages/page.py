"""A page as one HTML file."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sct_hf.escaping import in_lines
from sct_hf.files import atomic_write
from sct_hf.pages.charts import chart_scripts
from sct_hf.pages.parts import shortened

_OWN = Path(__file__).parent / "templates"


def write_page(
    path: str | Path, template: Path, title: str, content: Mapping[str, Any], *, charts: bool = False
) -> None:
    """Write a page. Whoever opens it needs no network and no other file, and it can load none.

    Args:
        path: The file to write.
        template: A template that extends `base.html`; see `sct_hf.pages`.
        title: Its heading; any text.
        content: What the template names.
        charts: Whether it has charts, whose scripts are 1.4 MB.

    Raises:
        jinja2.TemplateError: The template is wrong, or names what `content` does not have.
        OSError: The file cannot be written. `path` is then unchanged.
    """
    scripts = [*(chart_scripts() if charts else []), *_own_scripts(charts)]
    page = _environment(template.parent).get_template(template.name)
    with atomic_write(path) as temporary:
        page.stream(
            **content,
            page_title=title,
            page_version=version("sct_hf"),
            page_style=Markup(_read("style.css")),
            page_scripts=[*map(Markup, scripts)],
            page_policy="; ".join(_policy(scripts)),
        ).dump(str(temporary), encoding="utf-8")


def _policy(scripts: list[str]) -> list[str]:
    """Directives of Content-Security-Policy: what the page has in itself, these scripts, and nothing else.

    Bokeh sets styles of its elements, so styles are free.
    """
    digests = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return [
        "default-src 'none'",
        f"script-src {digests}",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


@cache
def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _own_scripts(charts: bool) -> list[str]:
    return [_read(name) for name in ["page.js", *(["charts.js"] if charts else [])]]


@cache
def _read(name: str) -> str:
    return (_OWN / name).read_text(encoding="utf-8")


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([FileSystemLoader(folder), FileSystemLoader(_OWN)]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = shortened
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment


def _shown(value: Any) -> Any:
    """Text without characters that turn or hide what follows; what is escaped already stays."""
    return in_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value
