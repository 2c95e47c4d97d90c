"""The card of runs that were told other things."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from sct_hf.hub import card
from sct_hf.hub.card import make_card
from sct_hf.hub.checks import TrainedRun, read_run
from sct_hf.hub.claims import BEGIN, END, Notes, read_notes
from sct_hf.metrics.zero_shot import zero_shot_metrics
from tests.hostile import HOSTILE_NAMES

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


def test_of_many_labels_the_most_frequent_are_shown(run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "PRINTED", 2)
    table = run.per_label.assign(label=["a", "b", "c", "d"], positives=[3, 5, 1, 9])
    text = str(make_card(replace(run, per_label=table), "me/x", NONE))
    assert [line[2] for line in text.splitlines() if re.match(r"\| [abcd] \|", line)] == ["d", "b"]
    assert "These are the 2 labels with the most positives; `per_label.csv` and `config.json` have all 4." in text
    assert "the 4 labels of `config.json`" in text


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


def rendered(card: ModelCard) -> tuple[list[str], list[list[str]]]:
    """What a page makes of a card: tags, links, images and blocks of HTML, and the texts of each table's rows."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(card.text)
    parts = [part for token in tokens for part in (token, *(token.children or ()))]
    kinds = ("html_inline", "html_block", "link_open", "image", "heading_open", "fence", "hr", "s_open")
    special = [f"{part.type} {part.content or part.attrs}" for part in parts if part.type in kinds]
    rows: list[list[str]] = []
    for token, inside in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "td_open":
            rows[-1].append("".join(part.content for part in inside.children or ()))
    return special, rows


@pytest.mark.parametrize("first", range(0, len(HOSTILE_NAMES), 4))
def test_names_of_labels_are_text_in_the_card(run: TrainedRun, first: int) -> None:
    names = (HOSTILE_NAMES * 2)[first : first + 4]  # as many as the run has labels
    truth = [[1, 0, 1], [0, 1, 0]]
    measured = zero_shot_metrics([[0.1, 0.2], [0.9, 0.3]], truth, truth, seen=["a"], unseen=["b", "c"])

    def card(labels: list[str]) -> ModelCard:
        table = pd.DataFrame(
            {"label": labels, "positives": 1, **dict.fromkeys(("AP", "precision", "recall", "F1"), 0.5)}
        )
        figures = measured | {"ZSL_AP": dict.fromkeys(labels, 0.5)}
        return make_card(replace(run, per_label=table, metrics=run.metrics | {"zero_shot": figures}), "me/x", NONE)

    plain_parts, plain_rows = rendered(card([f"label {place}" for place in range(len(names))]))
    parts, rows = rendered(card(names))
    assert [part for part in parts if not part.startswith("fence")] == [
        part for part in plain_parts if not part.startswith("fence")
    ]
    assert [len(row) for row in rows] == [len(row) for row in plain_rows]
    shown = [row[0] for row in rows if len(row) == 7][1:]
    assert shown == [
        "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in " ".join(name.split()))
        for name in names
    ]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_options_and_names_of_data_are_text_in_the_card(run: TrainedRun, name: str) -> None:
    plain, plain_rows = rendered(make_card(told(run, train_split="train", label_encoder="x"), "me/x", NONE))
    metrics = run.metrics | {"split": name, "dataset": name, "machine": run.metrics["machine"] | {"device": name}}
    record = run.record | {"command": ["accelerate", "launch", name, f"--train_split={name}"]}
    other = replace(run, metrics=metrics, record=record)
    card = make_card(told(other, train_split=name, label_encoder=name, epochs=name), "me/x", NONE)
    parts, rows = rendered(card)
    kinds = [part.split()[0] for part in parts]
    assert kinds == [part.split()[0] for part in plain]
    assert [len(row) for row in rows] == [len(row) for row in plain_rows]
    header = yaml.safe_load(str(card).split("\n---\n")[0])
    assert header["model-index"][0]["results"][0]["dataset"]["split"] == name
    assert ModelCard(str(card)).text.strip() == card.text.strip()
