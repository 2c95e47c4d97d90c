from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sct_hf.benchmark.tables import markdown_table, write_rows


def cells(table: str) -> list[list[str]]:
    """Header and rows of a Markdown table."""
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    return [lines[0], *lines[2:]]


def test_a_table_by_hand() -> None:
    rows = [
        {"head": "sct", "mAP %": 88.464, "weights": 1234567, "lean": True},
        {"head": "a|b", "mAP %": 7.5, "n": 3, "lean": False},
    ]
    assert markdown_table(rows) == (
        "| head | mAP % |   weights | lean |   n |\n"
        "| ---- | ----: | --------: | ---- | --: |\n"
        "| sct  | 88.46 | 1,234,567 | yes  |   – |\n"
        "| a\\|b |  7.50 |         – | no   |   3 |"
    )


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.1, 0.25, 3.0], ["0.10", "0.25", "3.00"]),
        ([1e-5, 0.3], ["1e-05", "0.3"]),
        ([0.001, 0.003], ["0.001", "0.003"]),
        ([123456.789, 2.0], ["1.23e+05", "2"]),
        ([123456.789, 45.6], ["123,457", "46"]),
        ([0.0, 0.0], ["0", "0"]),
        ([None, float("nan"), 2.5], ["–", "–", "2.5"]),
        ([float("inf"), -0.5], ["inf", "-0.5"]),
        ([np.float32(0.5), np.int64(7)], ["0.5", "7"]),
        (["two\nlines", [1, 2]], ["two lines", "1, 2"]),
    ],
)
def test_numbers_keep_what_matters(values: list[Any], texts: list[str]) -> None:
    assert [row[0] for row in cells(markdown_table([{"value": value} for value in values]))[1:]] == texts


def test_files_agree(tmp_path: Path) -> None:
    rows = [{"head": "sct", "mAP": 0.8125, "of": [1, 2]}, {"head": "linear", "mAP": 0.75, "seed": 4}]
    write_rows(tmp_path / "new", "runs", rows, caption="What it is.", columns=["mAP", "head"])
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"runs.parquet", "runs.md"}
    stored = pd.read_parquet(tmp_path / "new" / "runs.parquet")
    assert list(stored) == ["head", "mAP", "of", "seed"]
    assert stored["mAP"].tolist() == [0.8125, 0.75]
    text = (tmp_path / "new" / "runs.md").read_text(encoding="utf-8")
    caption, table = text.split("\n\n")
    assert caption == "What it is."
    assert cells(table) == [["mAP", "head"], ["0.8125", "sct"], ["0.7500", "linear"]]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_rows(tmp_path, "runs", [{"value": 1}])
    with pytest.raises(Exception, match="value"):
        write_rows(tmp_path, "runs", [{"value": object()}])
    assert pd.read_parquet(tmp_path / "runs.parquet")["value"].tolist() == [1]
    assert {path.name for path in tmp_path.iterdir()} == {"runs.parquet", "runs.md"}
