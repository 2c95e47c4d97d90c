"""Damaged files of a run that is to be published: each makes a card, or is refused by a named error."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sct_hf.errors import InputError
from sct_hf.hub.card import make_card
from sct_hf.hub.checks import read_run
from sct_hf.hub.claims import read_notes
from sct_hf.training.loop import train
from sct_hf.training.models import load_model
from sct_hf.training.parsing import parse
from tests.fuzz.judge import judge
from tests.fuzz.mutate import as_json, damaged_bytes, damaged_document
from tests.words import command_words

NOTES = """---
license: mit
tags: [photos]
model-index:
- name: colours
  results: []
---
# Notes

Seen on the 11 images of the test split; see https://example.org/1 and arXiv 2507.14918.
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    """The folder of a finished run, with an author's notes and figures of groups and of unseen labels."""
    folder = tmp_path_factory.mktemp("runs") / "colours"
    options = {
        **{"dataset": "jsonl", "data_dir": table, "num_workers": 0, "backbone": "test_resnet", "image_size": 32},
        **{"backbone_weights": "none", "label_encoder": "random:8", "hidden_size": 16, "encoder_ffn_dim": 16},
        **{"encoder_attention_heads": 2, "epochs": 1, "batch_size": 10, "report_to": "none", "figures": False},
        **{"cpu_threads": 1, "output_dir": folder, "allow_unlabelled": True, "frequency_groups": "5,9"},
    }
    train(parse(command_words(options)))
    metrics = json.loads((folder / "metrics.json").read_text())
    names = [f"{kind}_{figure}" for kind in ("ZSL", "GZSL") for figure in ("mAP", "chance_mAP", "F1@3", "F1@5")]
    metrics["zero_shot"] = {"unseen_labels": ["pink"], "ZSL_AP": {"pink": 0.5}, **dict.fromkeys(names, 0.25)}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "README.md").write_text(NOTES)
    return folder


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *[("metrics.json", "values"), ("metrics.json", "bytes"), ("training_args.json", "values")],
        *[("training_args.json", "bytes"), ("README.md", "bytes"), ("per_label.csv", "bytes")],
        ("predictions.parquet", "bytes"),
    ],
)
def test_card_or_named_error(
    name: str,
    damage: str,
    run: Path,
    tmp_path: Path,
    seeds: Callable[[int], range],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    good = (run / name).read_bytes()

    def publish() -> None:
        read = read_run(folder)
        make_card(read, "owner/colours", read_notes(read))

    def attempt(rng: random.Random) -> None:
        values = damage == "values"
        damaged = as_json(damaged_document(json.loads(good), rng), rng) if values else damaged_bytes(good, rng)
        (folder / name).write_bytes(damaged)
        publish()

    publish()
    model = load_model(str(folder), field="folder")  # sound in each of them, so that one is enough
    monkeypatch.setattr("sct_hf.hub.checks.load_model", lambda name, field: model)
    verdict = judge(attempt, (InputError,), seeds(40))
    print(f"{name}, {damage}: {verdict}")
    assert not verdict.faults, verdict
    assert verdict.refused
