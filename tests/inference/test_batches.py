"""Tagging tables, as Ray Data, Spark and Daft ask for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
from transformers import pipeline

from sct_hf.errors import InputError
from sct_hf.inference.batches import BatchTagger
from sct_hf.inference.tagger import Tagger

PHOTO = Path(__file__).parents[2] / "docs" / "images" / "cat_and_person.jpg"


@pytest.fixture(scope="module")
def tagger() -> BatchTagger:
    return BatchTagger(threshold=0.2, top_k=3)


def table(*images: bytes | None) -> pyarrow.Table:
    return pyarrow.table({"path": [f"{number}.jpg" for number in range(len(images))], "bytes": list(images)})


def test_tags_are_the_pipelines(tagger: BatchTagger) -> None:
    expected = pipeline("multi-label-image-classification")(str(PHOTO), threshold=0.2, top_k=3)
    found = tagger(table(PHOTO.read_bytes(), b"no image", None)).to_pylist()
    assert [row["path"] for row in found] == ["0.jpg", "1.jpg", "2.jpg"]
    assert found[0]["labels"] == [tag["label"] for tag in expected]
    assert found[0]["scores"] == pytest.approx([tag["score"] for tag in expected], abs=1e-6)
    assert found[0]["error"] is None
    for row in found[1:]:
        assert row["labels"] == row["scores"] == []
        assert row["error"]


@pytest.mark.parametrize("kind", [pyarrow.Table, pyarrow.RecordBatch])
def test_a_table_gives_one_of_its_kind_and_schema(tagger: BatchTagger, kind: Any) -> None:
    """Also for no image at all: engines join the tables of their workers."""
    whole = table(PHOTO.read_bytes())
    for given in (whole, whole.slice(0, 0)):
        given = given if kind is pyarrow.Table else pyarrow.RecordBatch.from_pylist(given.to_pylist(), given.schema)
        found = tagger(given)
        assert type(found) is kind
        assert found.schema == tagger.schema
        assert found.num_rows == given.num_rows


def test_options_add_their_columns() -> None:
    found = BatchTagger(maps=True, abstain=0.1)(table(PHOTO.read_bytes()))
    assert found.schema.names == ["path", "labels", "scores", "unsure", "boxes", "error"]
    (row,) = found.to_pylist()
    assert len(row["boxes"]) == len(row["unsure"]) == len(row["labels"])


def test_other_columns_are_named(tagger: BatchTagger) -> None:
    with pytest.raises(InputError, match=r"'bytes', only path, content.*image_column"):
        tagger(table(b"").rename_columns(["path", "content"]))


def test_a_wrong_option_is_refused_before_any_image() -> None:
    with pytest.raises(InputError, match="threshold is 3"):
        BatchTagger(threshold=3)


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a stand-in takes three images; none is lost or twice, and the size that fits is kept."""
    tagger, tag, sizes = BatchTagger(batch_size=8), Tagger.tag, []

    def scarce(self: Tagger, images: Any, *, batch_size: int, **options: Any) -> Iterator[Any]:
        sizes.append(batch_size)
        for number, result in enumerate(tag(self, images, batch_size=batch_size, **options)):
            if number == 2 and batch_size > 3:
                raise InputError("out of memory") from torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
            yield result

    monkeypatch.setattr(Tagger, "tag", scarce)
    found = tagger(table(*[PHOTO.read_bytes()] * 5))
    assert found["path"].to_pylist() == [f"{number}.jpg" for number in range(5)]
    tagger(table(*[PHOTO.read_bytes()] * 5))
    assert sizes == [8, 4, 2, 2]


def test_another_failure_is_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch, tagger: BatchTagger) -> None:
    def fail(*_: Any, **__: Any) -> Iterator[Any]:
        raise InputError("the input size is wrong") from RuntimeError("the input size is wrong")

    monkeypatch.setattr(Tagger, "tag", fail)
    with pytest.raises(InputError, match="input size"):
        tagger(table(b""))
