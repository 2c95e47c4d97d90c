import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from PIL import Image

from sct_hf.escaping import in_lines
from sct_hf.pages import Card, Chart, Column, Curve, Figure, Picture, Table, Tag, data_uri, write_page
from tests.hostile import HOSTILE_NAMES
from tests.page_checks import harmless_page

NAMES = [
    *HOSTILE_NAMES,
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "</style></bdi></td>",
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }} {% raw %}",
    "$$x$$",
    "\ud800 half a letter",
    "عربي",
    "x" * 5000,
    "😀",
]
TEMPLATE = """{% extends "base.html" %}
{% import "parts.html" as parts %}
{% block main %}
{{ parts.figures(figures) }} {{ parts.table(table) }} {{ parts.cards(cards) }}
{{ parts.charts(charts, choose=choose) }}
{% endblock %}
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "all.html"
    path.write_text(TEMPLATE, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_text_wherever_it_stands(template: Path, tmp_path: Path, name: str) -> None:
    image = Picture(data_uri(Image.new("RGB", (4, 4))), name)
    curve = Curve(name, [0, 1], [1, 0])
    content = {
        "figures": [Figure(name, name, name)],
        "table": Table([Column(name, help=name), Column("", "picture"), Column("b")], [[name, image, name]] * 9, name),
        "cards": [Card(name, [image], [Tag(name, name, "wrong")], [name])] * 9,
        "charts": [Chart(name, "x", "y", [curve], {name: [curve]}, note=name)],
        "choose": name,
    }
    write_page(tmp_path / "page.html", template, name, content)
    write_page(tmp_path / "plain.html", template, "a plain name", _plain(content))
    page, plain = harmless_page(tmp_path / "page.html"), harmless_page(tmp_path / "plain.html")
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]  # the name makes no element
    assert [attributes.keys() for _, attributes in page.elements] == [each.keys() for _, each in plain.elements]
    assert page.scripts == plain.scripts
    short = name if len(name) <= 200 else f"{'x' * 100}…{'x' * 99}"
    assert len([text for text in page.texts if text == in_lines(name).strip()]) >= 9  # the notes
    assert len([text for text in page.texts if text == in_lines(short).strip()]) >= 9 * 5  # cells, titles and tags
    assert page.data[0]["curves"][0]["name"] == short
    assert set(page.attributes("alt")) == {"", in_lines(short)}


def _plain(value: Any) -> Any:
    """The same content with a plain name."""
    if isinstance(value, str):
        return value if value.startswith("data:") or value in KEPT else "a plain name"
    if isinstance(value, dict):
        return {key if key in KEPT else "a plain name": _plain(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_plain, value))
    if isinstance(value, list | tuple):
        return [*map(_plain, value)]
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(**{key: _plain(getattr(value, key)) for key in value.__dataclass_fields__})
    return value


KEPT = ["figures", "table", "cards", "charts", "choose", "wrong", "picture", "text", "line", "x", "y", ""]


def test_a_page_is_the_same_each_time_and_has_no_script_that_it_does_not_need(template: Path, tmp_path: Path) -> None:
    content: dict[str, Any] = {"figures": [], "table": Table([Column("a")], []), "cards": [], "charts": []}
    sizes = []
    for charts in (False, True):
        paths = [tmp_path / f"{number}.html" for number in range(2)]
        for path in paths:
            write_page(path, template, "title", content | {"choose": ""}, charts=charts)
        first, second = (path.read_bytes() for path in paths)
        assert first == second
        sizes.append(len(first))
        harmless_page(paths[0])
    assert sizes[0] < 20_000
    assert sizes[1] < 2_000_000


def test_a_template_that_names_what_is_not_there_leaves_the_file_as_it_was(template: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(jinja2.UndefinedError, match="figures"):
        write_page(path, template, "title", {})
    assert path.read_text(encoding="utf-8") == "before"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["all.html", "page.html"]


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("text", "dog", "dog"),
        ("text", None, "–"),
        ("count", 12345, "12,345"),
        ("number", 2.345, "2.3"),
        ("number", math.nan, "–"),
        ("percent", 0.9312, "93.1"),
        ("percent", np.float32(0.5), "50.0"),
        ("difference", 0.0123, "+1.2"),
        ("difference", -0.0123, "−1.2"),
        ("difference", -0.0001, "0.0"),
        ("difference", None, "–"),
    ],
)
def test_cells(form: Any, value: Any, text: str) -> None:
    assert Column("column", form).text(value) == text


def test_a_long_curve_is_thinned_and_what_is_not_finite_is_a_gap() -> None:
    x = np.linspace(0, 1, 100_001)
    y = np.where(x < 0.5, x, np.nan)
    drawn = Curve("all", x, y).to_dict()
    assert len(drawn["x"]) == len(drawn["y"]) == 400
    assert drawn["x"][0] == 0
    assert drawn["x"][-1] == 1
    for at, value in zip(drawn["x"], drawn["y"], strict=True):
        assert value == (pytest.approx(at, rel=1e-4) if at < 0.5 else None)
    json.dumps(drawn, allow_nan=False)
    assert Curve("none", [], []).to_dict() == {"name": "none", "kind": "line", "x": [], "y": []}


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16", "CMYK", "1"])
def test_images_of_every_mode_and_size(mode: str, tmp_path: Path) -> None:
    image = Image.new(mode, (1000, 500))
    before = image.size
    assert len(data_uri(image)) < 10_000
    assert image.size == before
    shown = Image.open(io.BytesIO(base64.b64decode(data_uri(image, side=200).partition(",")[2])))
    assert (shown.format, shown.mode, shown.size) == ("JPEG", "RGB", (200, 100))
    image.convert("RGB").save(tmp_path / "a.png")
    assert data_uri(tmp_path / "a.png", side=50) == data_uri(str(tmp_path / "a.png"), side=50)
