"""The card of runs that were told other things."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from sct_hf.hub.card import make_card
from sct_hf.hub.checks import TrainedRun, read_run
from sct_hf.hub.claims import BEGIN, END, Notes, read_notes
from sct_hf.metrics.zero_shot import zero_shot_metrics

NONE = Notes("", {})


@pytest.fixture(scope="module")
def run(trained: Path) -> TrainedRun:
    return read_run(trained)


def told(run: TrainedRun, **arguments: object) -> TrainedRun:
    return replace(run, record=run.record | {"arguments": run.arguments | arguments})


@pytest.mark.parametrize(
    ("arguments", "base"),
    [
        ({"backbone_weights": "pretrained"}, "timm/test_resnet.r160_in1k"),
        ({"backbone_weights": "pretrained", "backbone": "resnet50.a1_in1k"}, "timm/resnet50.a1_in1k"),
        ({"backbone_weights": "pretrained", "init_checkpoint": "outputs/other"}, None),
        ({"backbone_weights": "weights.safetensors"}, None),
    ],
)
def test_base_model_only_where_it_is_known(run: TrainedRun, arguments: dict[str, object], base: str | None) -> None:
    data = make_card(told(run, **arguments), "me/x", NONE).data
    assert data.get("base_model") == base
    assert data.get("license") == "apache-2.0"


def test_data_set_of_the_hub(run: TrainedRun) -> None:
    hub = replace(run, metrics=run.metrics | {"dataset": "me/colours"})
    assert make_card(hub, "me/x", NONE).data.get("datasets") == ["me/colours"]
    assert make_card(run, "me/x", NONE).data.get("datasets") is None


def test_folders_of_the_machine_stay_there(run: TrainedRun) -> None:
    words = [
        "accelerate",
        "launch",
        "scripts/train.py",
        "--data_dir=/home/someone/my data",
        "--image_size",
        "64",
        "96",
    ]
    secret = replace(told(run, backbone_weights="/home/someone/w.pth", label_encoder="glove:/home/someone/g.txt"))
    text = str(make_card(replace(secret, record=secret.record | {"command": words}), "me/x", NONE))
    assert "someone" not in text
    assert "accelerate launch scripts/train.py \\\n  '--data_dir=my data' \\\n  --image_size 64 96\n" in text
    assert "| backbone_weights | w.pth |" in text
    assert "| label_encoder | glove:g.txt |" in text


def test_what_the_author_adds(run: TrainedRun) -> None:
    own = {"license": "cc-by-4.0", "tags": ["colours", "sct"], "pipeline_tag": "text-generation", "language": ["en"]}
    card = make_card(run, "me/x", Notes("Mind the {{ braces }}.", own))
    assert f"## Notes\n\n{BEGIN}\n\nMind the {{{{ braces }}}}.\n\n{END}\n" in str(card)
    assert card.data.get("license") == "cc-by-4.0"
    assert card.data.get("language") == ["en"]
    assert card.data.get("pipeline_tag") == "image-classification"  # or the Hub would run it as something else
    tags = card.data.get("tags")
    assert {"multi-label-image-classification", "timm", "colours"} < set(tags)
    assert tags.count("sct") == 1
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()


@pytest.mark.parametrize("notes", [NONE, Notes("About 2 epochs.\n\n- dim", {"license": "mit", "tags": ["colours"]})])
def test_a_card_made_anew_is_the_same(run: TrainedRun, folder: Path, notes: Notes) -> None:
    card = str(make_card(run, "me/x", notes, examples=["examples/a.png"]))
    (folder / "README.md").write_text(card, encoding="utf-8")
    again = read_notes(replace(run, folder=folder))
    assert again.text == notes.text
    assert str(make_card(run, "me/x", again, examples=["examples/a.png"])) == card


def test_labels_thresholds_and_own_pipelines(run: TrainedRun) -> None:
    text = str(make_card(run, "me/x", NONE, tasks=["multi-label-image-classification"]))
    assert '`pipeline("multi-label-image-classification", model="me/x"' in text
    assert "none was tuned" in text
    table = run.per_label.assign(label=["a|b", "c", "d", "e"], AP=[None, 0.5, 0.5, 0.5])
    config = run.model.config
    config.thresholds = [0.25, 0.5, 0.75, 1.0]
    try:
        text = str(make_card(replace(run, per_label=table), "me/x", NONE))
    finally:
        config.thresholds = None
    row = next(line for line in text.splitlines() if line.startswith("| a"))
    assert row.startswith("| a\\|b |")
    assert row.split(" | ")[2] == "–"
    assert row.endswith("| 0.25 |")
    assert "none was tuned" not in text


def test_what_is_off_by_default_is_shown_where_it_was_on(run: TrainedRun) -> None:
    plain = str(make_card(run, "me/x", NONE))
    shown = ("known_proportion", "single_positive", "unknown_labels", "recovery_weight", "shots", "resampling")
    assert not any(f"| {name} |" in plain for name in shown)
    options = {"known_proportion": 0.1, "unknown_labels": "recover", "shots": 5, "positive_weights": "/home/me/w.csv"}
    text = str(make_card(told(run, **options), "me/x", NONE))
    rows = ("known_proportion | 0.1", "unknown_labels | recover", "shots | 5", "positive_weights | w.csv")
    assert all(f"| {row} |" in text for row in rows)
    assert "| set | dropout=0.2, scorer_dropout=0.0 |" in str(
        make_card(told(run, set={"dropout": 0.2, "scorer_dropout": 0.0}), "me/x", NONE)
    )
    assert "| augment | flip, cutout |" in str(make_card(told(run, augment=["flip", "cutout"]), "me/x", NONE))
    assert "| recovery_weight |" not in text


def test_labels_beyond_those_of_training(run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(run.model.config.label_names)
    assert f"knows the {count} labels above and no others" in str(make_card(run, "me/x", NONE))
    monkeypatch.setattr(run.model.config, "scorer", "label")
    open_card = str(make_card(run, "me/x", NONE))
    assert "no others" not in open_card
    assert "how it finds those was not measured" in open_card
    truth = [[1, 0, 1], [0, 1, 0]]
    figures = zero_shot_metrics([[0.1, 0.2], [0.9, 0.3]], truth, truth, seen=["a"], unseen=["b|c", "d"])
    text = str(make_card(replace(run, metrics=run.metrics | {"zero_shot": figures}), "me/x", NONE))
    assert "2 labels of the same split, scored by their text: b\\|c, d." in text
    # By hand: b's only image comes first, d's second.
    assert "| these alone | 75.0 | 50.0 |" in text
    assert "only those named above were measured" in text
