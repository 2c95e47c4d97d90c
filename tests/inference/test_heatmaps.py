"""Heatmaps as files."""

import numpy as np
from PIL import Image

from sct_hf.inference.heatmaps import write_heatmaps
from sct_hf.inference.tagger import Tags


def test_heatmaps_have_names_that_files_can_have(tmp_path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "teal").save(path)
    long = "消防車" * 100
    labels = ["traffic/light", "消防車", 'a:b*"c', long, long + "犬", "50%"]
    maps = {label: np.eye(3, dtype=np.float32) for label in labels}
    written = write_heatmaps(Tags(path, maps=maps), tmp_path / "maps", tmp_path)
    names = [file.name for file in written]
    assert names[:3] == ["a.png-traffic%2Flight.png", "a.png-消防車.png", "a.png-a%3Ab%2A%22c.png"]
    assert names[5] == "a.png-50%25.png"
    assert len(set(names)) == len(labels)
    assert all(file.is_file() and len(file.name.encode()) <= 255 for file in written)
    assert names[3].startswith("a.png-消防車消防車")
