"""Tagging by Ray Data on a local cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet
import pytest
import torch

from sct_hf.inference.batches import BatchTagger
from sct_hf.inference.ray_data import tag_by_ray
from sct_hf.inference.rows import row_of
from sct_hf.inference.sources import Sources
from sct_hf.inference.tagger import Tagger
from sct_hf.own_checkpoint import own_checkpoint
from tests.docs.pages import ROOT, blocks

pytestmark = pytest.mark.slow
PHOTOS = ROOT / "docs" / "images"


@pytest.fixture
def ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A local cluster of two cores, whose workers start in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    module = pytest.importorskip("ray", reason="Ray is not installed")
    module.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield module
    module.shutdown()


@pytest.mark.usefixtures("ray")
def test_the_example_of_the_documentation() -> None:
    """It gives the tags of `Tagger`, image by image."""
    (block,) = (each for each in blocks(ROOT / "docs" / "cluster.md") if "import ray" in each.code)
    code = block.code.replace('"photos/"', repr(str(PHOTOS))).replace('"outputs/mine"', repr(str(own_checkpoint())))
    exec(code, {})
    found = {row["path"]: row for row in pyarrow.parquet.read_table("tags").to_pylist()}
    expected = {str(result.path): result for result in Tagger.from_pretrained(own_checkpoint()).tag(sorted(found))}
    assert len(found) == len(list(PHOTOS.iterdir()))
    for path, result in expected.items():
        assert found[path]["labels"] == [label for label, _ in result.tags]
        assert found[path]["scores"] == pytest.approx([score for _, score in result.tags], abs=1e-5)


def many_images(folder: Path) -> list[str]:
    """448 files of the documentation's pictures, a broken one among them, a Parquet file of 64, and an absent file.

    Files and rows are multiples of 16, so that one process makes the same batches.
    """
    pictures = sorted(PHOTOS.iterdir())
    (folder / "files").mkdir()
    for number in range(448):
        (folder / "files" / f"{number:03d}.jpg").hardlink_to(pictures[number % len(pictures)])
    (folder / "files" / "100.jpg").unlink()
    (folder / "files" / "100.jpg").write_bytes(b"no image")
    table = pyarrow.table({"image": [pictures[number % 8].read_bytes() for number in range(63)] + [None]})
    pyarrow.parquet.write_table(table, folder / "shard.parquet")
    return [str(folder / "files"), str(folder / "shard.parquet"), str(folder / "absent.jpg")]


@pytest.mark.usefixtures("ray")
def test_a_killed_worker_changes_no_digit(tmp_path: Path) -> None:
    """Each image once, with the very scores and errors of one process, though a worker is killed half-way."""
    sources = Sources(many_images(tmp_path))
    found: dict[str, Any] = {}
    killed = False
    for result in tag_by_ray(sources, lambda name: True, load, batch_size=16, top_k=3):
        assert result.name not in found
        found[result.name] = row_of(result)
        if not killed:
            workers = [process for process in psutil.process_iter(["cmdline"]) if is_tagging(process)]
            workers[0].kill()
            killed = True
    tagger = BatchTagger(batch_size=16, top_k=3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as Ray's workers, with a core each
    try:
        expected = tagger.rows(list(sources.items(lambda name: True)))
    finally:
        torch.set_num_threads(threads)
    assert len(expected) == len(found) == 448 + 64 + 1
    assert pyarrow.Table.from_pylist(expected, tagger.schema).to_pylist() == [found[row["path"]] for row in expected]
    assert sum(row["error"] is not None for row in expected) == 3


def load() -> Tagger:
    return Tagger.from_pretrained(own_checkpoint())


def is_tagging(process: psutil.Process) -> bool:
    return any("ChunkTagger" in word for word in process.info["cmdline"] or [])
