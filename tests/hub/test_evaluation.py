"""An evaluation of where the maps point, on the card."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sct_hf.errors import InputError
from sct_hf.files import sha256_of_file
from sct_hf.hub.card import make_card
from sct_hf.hub.checks import read_run
from sct_hf.hub.claims import Notes, measured_numbers, unmeasured
from sct_hf.hub.repository import assemble
from sct_hf.metrics.localisation import localisation_metrics, pair_figures


@pytest.fixture
def content(trained: Path) -> dict[str, Any]:
    """What `sct-hf evaluate --localisation true` writes, of three maps."""
    box = np.array([[2.0, 2, 6, 6]])
    maps = [np.eye(8) if corner is None else np.eye(8)[corner] for corner in (None, slice(0, 2), slice(5, 8))]
    methods = {
        name: localisation_metrics(
            [pair_figures(power * each, box, (200, 100)) for each in maps], list("aab"), ["small"] * 3, ["a", "b"]
        )
        for name, power in (("model", 1.0), ("cam", -1.0), ("whole_image", 0.0))
    }
    where = {"images": 1234, "pairs": 5678, "without_box": 0, "other_shape": [], "tolerance": 15, "methods": methods}
    digest = sha256_of_file(trained / "model.safetensors")
    return {"dataset": "voc2007", "split": "val", "weights_sha256": digest, "localisation": where, "mAP": 0.5}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def written(content: Any) -> Path:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "metrics.json").write_text(text)
        return tmp_path

    return written


def test_the_card_shows_the_figures(trained: Path, content: dict[str, Any], write: Callable[[Any], Path]) -> None:
    run = read_run(trained, write(content))
    text = str(make_card(run, "me/x", Notes("", {})))
    assert (
        "### Where the maps point\n\nPascal VOC 2007, split `val`: 5,678 labels in 1,234 images, in percent." in text
    )
    rows = [
        line for line in text.splitlines() if line.startswith(("| the model", "| CAM of", "| whole image", "| centre"))
    ]
    assert [row.split(" | ")[0] for row in rows] == ["| the model", "| CAM of a linear head", "| whole image"]
    for row, method in zip(rows, content["localisation"]["methods"].values(), strict=True):
        figures = [method["overall"][name] for name in ("pointing", "energy", "MaxBoxAccV2", "CorLoc")]
        assert row.split(" | ")[1:] == [f"{100 * value:.1f}" for value in figures[:3]] + [f"{100 * figures[3]:.1f} |"]
    assert "at most 15 pixels off" in text
    assert "`localisation.json`" in text
    without = str(make_card(read_run(trained), "me/x", Notes("", {})))
    assert "maps point" not in without
    assert "localisation.json" not in without


def test_its_numbers_are_measured(trained: Path, content: dict[str, Any], write: Callable[[Any], Path]) -> None:
    content["localisation"]["methods"]["model"]["overall"]["pointing"] = 0.98765
    found = unmeasured("It points at 98.765 %.", measured_numbers(read_run(trained, write(content))))
    assert (found, unmeasured("98.765 %", measured_numbers(read_run(trained)))) == ([], ["98.765"])


def test_it_is_published(trained: Path, content: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    assemble(read_run(trained, write(content)), "me/x", tmp_path / "target")
    published = json.loads((tmp_path / "target" / "localisation.json").read_text())
    assert published == {name: value for name, value in content.items() if name != "mAP"}


def spoiled(place: tuple[str, ...], value: Any) -> Callable[[dict[str, Any]], Any]:
    def spoil(content: dict[str, Any]) -> Any:
        made = copy.deepcopy(content)
        inner = made
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        return made

    return spoil


OVERALL = ("localisation", "methods", "cam", "overall")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: "{", "cannot be read"),
        (lambda content: "[" * 100_000, "cannot be read"),
        (lambda content: [], "has no localisation"),
        (spoiled(("localisation",), None), "has no localisation"),
        (spoiled(("weights_sha256",), "0" * 64), "belongs to other weights .weights_sha256 000000000000…"),
        (spoiled(("weights_sha256",), None), "belongs to other weights"),
        (spoiled(("split",), 3), "has 3 for split"),
        (spoiled(("localisation", "pairs"), "many"), "has 'many' for localisation.pairs"),
        (spoiled(("localisation", "tolerance"), -1), "has -1 for localisation.tolerance"),
        (spoiled(("localisation", "methods"), {}), "has other methods"),
        (spoiled(("localisation", "methods", "<b>"), {}), "has other methods"),
        (spoiled(OVERALL, []), "not numbers in"),
        (spoiled((*OVERALL, "CorLoc"), 1.5), "not numbers in"),
        (spoiled((*OVERALL, "energy"), None), "not numbers in"),
    ],
)
def test_what_the_card_cannot_show(
    trained: Path, content: dict[str, Any], write: Callable[[Any], Path], spoil: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(InputError, match=rf"^evaluation is '.*', whose metrics.json .*{message}.*: give the output"):
        read_run(trained, write(spoil(content)))


def test_an_evaluation_that_is_not_there(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics\.json cannot be read"):
        read_run(trained, tmp_path / "none")
