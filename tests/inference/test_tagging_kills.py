"""Images are tagged once each however often the run is killed, in memory that does not grow.

`SCT_IMAGES=1000000 SCT_KILLS=10 pytest -m slow tests/inference/test_tagging_kills.py -s` is the large one.
"""

import os
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from sct_hf import Tagger
from sct_hf.inference.items import Item
from tests.inference.tagging_kills import LABELS, jpegs, run, write_model, write_shards

IMAGES = int(os.environ.get("SCT_IMAGES", "30000"))
KILLS = int(os.environ.get("SCT_KILLS", "3"))
DIFFERENT = min(3000, IMAGES)


@pytest.mark.slow
def test_every_image_is_tagged_once_after_kills_at_random_moments(tmp_path: Path) -> None:
    content = jpegs(DIFFERENT)
    write_model(tmp_path / "model")
    write_shards(tmp_path / "shards", content, IMAGES, 50_000)
    output = tmp_path / "results"
    words = [str(tmp_path / "shards"), f"--model={tmp_path / 'model'}", f"--output={output}/", "--id_column=key"]
    words += ["--threshold=0.5", "--batch_size=64", "--device=cpu"]

    campaign = run(words, output, IMAGES, KILLS, tmp_path / "log")

    found = ds.dataset(output, format="parquet", exclude_invalid_files=True).to_table()
    keys = found["path"].to_pylist()
    assert sorted(map(int, keys)) == list(range(IMAGES))  # every image once, none lost, none twice
    tagger = Tagger.from_pretrained(tmp_path / "model", "cpu")
    items = (Item(str(number), each) for number, each in enumerate(content))
    expected = [dict(tags.tags) for tags in tagger.tag(items, threshold=0.5, batch_size=64)]
    for key, labels, scores in zip(keys, found["labels"].to_pylist(), found["scores"].to_pylist(), strict=True):
        wanted = expected[int(key) % DIFFERENT]
        assert dict(zip(labels, scores, strict=True)) == pytest.approx(wanted, abs=1e-5)
        assert set(labels) <= set(LABELS)
    first, last = campaign.peak(0, 0.1), campaign.peak(0.9, 1)
    grown = f"peak memory {first / 1e6:,.0f} MB in the first tenth, {last / 1e6:,.0f} MB in the last"
    print(f"\n{IMAGES:,} images, kills at {campaign.kills}, {campaign.seconds:,.0f} s; {grown}")
    assert len(campaign.kills) == KILLS
    assert abs(last / first - 1) < (0.05 if IMAGES >= 1_000_000 else 0.3)
