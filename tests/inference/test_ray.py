"""Tagging by Ray Data on a local cluster."""

from pathlib import Path

import pyarrow.parquet
import pytest

from sct_hf.inference.tagger import Tagger
from sct_hf.own_checkpoint import own_checkpoint
from tests.docs.pages import ROOT, blocks

pytestmark = pytest.mark.slow
PHOTOS = ROOT / "docs" / "images"


def test_the_example_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives the tags of `Tagger`, image by image."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    (block,) = (each for each in blocks(ROOT / "docs" / "cluster.md") if "import ray" in each.code)
    code = block.code.replace('"photos/"', repr(str(PHOTOS))).replace('"outputs/mine"', repr(str(own_checkpoint())))
    monkeypatch.chdir(tmp_path)
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        exec(code, {})
    finally:
        ray.shutdown()
    found = {row["path"]: row for row in pyarrow.parquet.read_table("tags").to_pylist()}
    expected = {str(result.path): result for result in Tagger.from_pretrained(own_checkpoint()).tag(sorted(found))}
    assert len(found) == len(list(PHOTOS.iterdir()))
    for path, result in expected.items():
        assert found[path]["labels"] == [label for label, _ in result.tags]
        assert found[path]["scores"] == pytest.approx([score for _, score in result.tags], abs=1e-5)
