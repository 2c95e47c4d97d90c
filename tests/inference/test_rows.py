"""Rows of results, and their schema, against rows written by hand and by pyarrow."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from sct_hf.inference.rows import Columns, row_of, tags_of
from sct_hf.inference.tagger import Tags

BOX = {"xmin": 0, "ymin": 1, "xmax": 20, "ymax": 31}
PLAIN = Tags(Path("a.png"), [("dog", 0.75), ("sea", 0.5)])
FULL = Tags(
    Path("b.png"),
    [("dog", 0.75), ("sea", 0.5)],
    boxes={"sea": BOX, "dog": BOX | {"xmin": 3}},
    seen={"sea": True, "dog": False},
    unsure={"sea": False, "dog": True},
    name="shard.parquet#3",
)


def test_a_row_by_hand() -> None:
    assert row_of(PLAIN) == {"path": "a.png", "labels": ["dog", "sea"], "scores": [0.75, 0.5], "error": None}
    assert row_of(FULL) == {
        "path": "shard.parquet#3",
        "labels": ["dog", "sea"],
        "scores": [0.75, 0.5],
        "seen": [False, True],
        "unsure": [True, False],
        "boxes": [BOX | {"xmin": 3}, BOX],
        "error": None,
    }
    failed = Tags(Path("c.png"), error="no such file", boxes={})
    assert row_of(failed) == {"path": "c.png", "labels": [], "scores": [], "boxes": [], "error": "no such file"}


def test_the_schema_holds_the_rows_and_is_what_pyarrow_makes_of_them() -> None:
    for result in (PLAIN, FULL):
        columns, row = Columns.of(result), row_of(result)
        schema = columns.schema()
        assert pa.Table.from_pylist([row], schema=schema).to_pylist() == [row]
        assert schema.names == list(row)
    assert Columns.of(FULL) == Columns(seen=True, unsure=True, boxes=True)
    assert Columns(unsure=True).marks == ["unsure"]
    assert Columns().schema().field("scores").type == pa.list_(pa.float32())


def test_a_row_gives_its_result_back() -> None:
    named = replace(FULL, path=Path(FULL.name))
    failed = Tags(Path("c.png"), error="no such file", boxes={}, unsure={})
    for result in (PLAIN, named, failed):
        assert tags_of(row_of(result)) == result
        schema = Columns.of(result).schema()
        assert tags_of(pa.Table.from_pylist([row_of(result)], schema=schema).to_pylist()[0]) == result
