"""Every block of code in README.md and the documentation: run, or marked with the reason why not.

`test_shell.py` runs those of the shell.
"""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sct_hf.data import READERS, load_data
from sct_hf.data.recognise import recognise
from sct_hf.hub.handler import _parameters
from tests.docs.pages import PAGES, Block, blocks, blocks_of

RUNNABLE = ("python", "text", "bash", "csv", "jsonl", "json")
EVERY = [block for page in PAGES for block in blocks(page)]


def test_every_block_is_run_or_marked() -> None:
    assert len(EVERY) > 50
    assert [str(block) for block in EVERY if block.checked and block.language != "bash"] == []
    assert [str(block) for block in EVERY if block.reason is None and block.language not in RUNNABLE] == []


@pytest.mark.parametrize("page", sorted({block.page for block in blocks_of("python")}), ids=lambda page: page.name)
@pytest.mark.usefixtures("here")
def test_python(page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks of a page run in order, in one namespace, and print what is shown below them."""
    monkeypatch.setattr("sct_hf.data.registry.READERS", dict(READERS))
    shown = {block.follows: block.code for block in blocks_of("text")}
    namespace: dict[str, Any] = {}
    for block in blocks_of("python"):
        if block.page == page:
            capsys.readouterr()
            exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)
            printed = capsys.readouterr().out
            assert printed == shown.get(block, printed)


def test_output_stands_below_what_prints_it() -> None:
    assert [
        str(block) for block in blocks_of("text") if block.follows is None or block.follows.language != "python"
    ] == []


@pytest.mark.parametrize("block", blocks_of("csv") + blocks_of("jsonl"), ids=str)
def test_table(block: Block, tmp_path: Path) -> None:
    """Images and labels are those of a reading with the standard library."""
    table = tmp_path / f"train.{block.language}"
    table.write_text(block.code, encoding="utf-8")
    rows: list[dict[str, Any]]
    if block.language == "jsonl":
        rows = [json.loads(line) for line in block.code.splitlines()]
    else:
        rows = list(csv.DictReader(StringIO(block.code)))
    paths = [tmp_path / row.pop("image") for row in rows]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    assert recognise(tmp_path, table).dataset == block.language
    images = load_data(block.language, "train", files=table)
    assert images.targets().tolist() == [[_target(row, name) for name in images.label_names] for row in rows]


def _target(row: dict[str, Any], name: str) -> int:
    if "labels" not in row:
        return {"1": 1, "0": 0}.get(row[name], -1)
    return int(name in (row["labels"] if isinstance(row["labels"], list) else row["labels"].split("|")))


@pytest.mark.parametrize("block", blocks_of("json"), ids=str)
def test_request(block: Block) -> None:
    request = json.loads(block.code)
    assert set(request) == {"inputs", "parameters"}
    _parameters(request["parameters"])
