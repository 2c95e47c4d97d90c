"""The checkpoints that lie in the repository: cards, figures, sizes, and tagging with the small one by default."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from sklearn.metrics import average_precision_score

from sct_hf.data import load_data
from sct_hf.errors import InputError
from sct_hf.hub.publish import prepared
from sct_hf.inference.batches import BatchTagger
from sct_hf.inference.tagger import Tagger
from sct_hf.own_checkpoint import own_checkpoint
from sct_hf_cli import run

ROOT = Path(__file__).parents[1]
PERSON = get_sample_data("grace_hopper.jpg", asfileobj=False)


CHECKPOINTS = sorted(path.parent for path in (ROOT / "model_cards").glob("*/config.json"))


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda folder: folder.name)
def test_card_is_what_publishing_makes_of_the_folder(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "localisation.json", tmp_path / "metrics.json")  # the part of an evaluation that is published
    with prepared(folder, f"OWNER/{folder.name}", evaluation=tmp_path) as target:
        assert (target / "localisation.json").read_bytes() == (folder / "localisation.json").read_bytes()
        assert (target / "README.md").read_text() == (folder / "README.md").read_text()
        assert {"modeling_sct.py", "handler.py", "model.safetensors"} <= {path.name for path in target.iterdir()}


def test_small_enough_to_be_cloned() -> None:
    sizes = {folder: sum(path.stat().st_size for path in folder.iterdir()) for folder in CHECKPOINTS}
    assert sizes[own_checkpoint()] < 16e6  # it is in the wheel
    assert max(sizes.values()) < 20e6


def test_predict_needs_no_model_and_no_network(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "scripts" / "predict.py"), PERSON, "--format=json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    (row,) = json.loads(found.stdout)
    assert [tag["label"] for tag in row["tags"]] == ["person"]


def test_an_empty_name_is_no_missing_one(tmp_path: Path, monkeypatch, capsys) -> None:
    """As of a variable that is not set."""
    monkeypatch.chdir(tmp_path)
    assert run("predict", "--model=", PERSON) == 2
    assert capsys.readouterr().err.startswith("error: --model: '' cannot be loaded")
    with pytest.raises(InputError, match="model: '' cannot be loaded"):
        BatchTagger("")


@pytest.mark.slow
@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda folder: folder.name)
def test_figures_of_the_card(folder: Path, voc_dir: Path) -> None:
    """The split of the card, tagged from its files in single precision; the card's run scored it in bfloat16."""
    images = load_data("voc2007", "val", data_dir=voc_dir, skip_missing_images=True)
    paths = [voc_dir / "VOC2007" / "JPEGImages" / f"{image_id}.jpg" for image_id in images.image_ids]
    targets, scores = images.targets(), np.zeros(images.targets().shape)
    tagger = Tagger.from_pretrained(folder, "cpu")
    for row, found in enumerate(tagger.tag(paths, threshold=0.0, batch_size=32)):
        for label, score in found.tags:
            scores[row, images.label_names.index(label)] = score
    judged = [targets[:, label] != -1 for label in range(len(images.label_names))]
    precisions = [
        average_precision_score(targets[rows, label], scores[rows, label]) for label, rows in enumerate(judged)
    ]
    written = json.loads((folder / "metrics.json").read_text())
    assert np.mean(precisions) == pytest.approx(written["mAP_sklearn"], abs=2e-3)
