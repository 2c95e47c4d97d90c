import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from sct_hf.errors import InputError
from sct_hf.hub.checks import read_run


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_training_wrote_can_be_published(trained: Path) -> None:
    run = read_run(trained)
    assert run.metrics == json.loads((trained / "metrics.json").read_text())
    assert run.per_label["label"].tolist() == run.model.config.label_names == ["blue", "green", "red", "white"]
    assert run.record["command"][1:3] == ["train", "--dataset=jsonl"]


def group_labels(folder: Path, **changes: Any) -> None:
    """What training adds to a folder on --frequency_groups 5,9."""
    table = pd.read_csv(folder / "per_label.csv")
    table["train_positives"] = [3, 12, 7, 5]
    table.to_csv(folder / "per_label.csv", index=False)
    ap = table["AP"]
    means = {"mAP_rare": (ap[0] + ap[3]) / 2, "mAP_common": ap[2], "mAP_frequent": ap[1]}
    counts = {"labels_rare": 2, "labels_common": 1, "labels_frequent": 1}
    told = json.loads((folder / "metrics.json").read_text())["calibration"]
    error = told["ECE_by_label"]  # of blue, green, red and white
    by_group = {
        "ECE_rare": (error["blue"] + error["white"]) / 2,
        "ECE_common": error["red"],
        "ECE_frequent": error["green"],
    }
    calibration = {"calibration": told | by_group}
    edit(folder / "metrics.json", **{"frequency_limits": [5, 9], **means, **counts, **calibration, **changes})


def test_quality_of_rare_labels_can_be_published(folder: Path) -> None:
    group_labels(folder)
    assert read_run(folder).metrics["labels_rare"] == 2


def swap_weights(folder: Path) -> None:
    weights = {name: value + 1 for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def raise_ap(folder: Path) -> None:
    table = pd.read_csv(folder / "per_label.csv")
    table.loc[0, "AP"] = 0.999
    table.to_csv(folder / "per_label.csv", index=False)


def other_scores(folder: Path) -> None:
    columns = pd.read_parquet(folder / "predictions.parquet")
    columns["score/red"] += 1
    columns.to_parquet(folder / "predictions.parquet")


def drop_labels(folder: Path) -> None:
    columns = pd.read_parquet(folder / "predictions.parquet")
    columns.drop(columns="score/red").to_parquet(folder / "predictions.parquet")


def rename_backbone(folder: Path) -> None:
    arguments = json.loads((folder / "training_args.json").read_text())["arguments"]
    edit(folder / "training_args.json", arguments=arguments | {"backbone": "resnet50"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "per_label.csv").unlink(), r"it lacks per_label\.csv"),
        (shutil.rmtree, r"it lacks config\.json, model\.safetensors"),
        (lambda folder: edit(folder / "training_args.json", finished=False), "is not finished; continue it"),
        (lambda folder: (folder / "metrics.json").write_text("{"), r"metrics\.json cannot be read"),
        (lambda folder: (folder / "metrics.json").write_text("[]"), r"metrics\.json holds list, no object"),
        (lambda folder: edit(folder / "config.json", model_type="sct_peer", head="csra"), "the peer head 'csra'"),
        (lambda folder: edit(folder / "config.json", model_type="vit"), "its model_type is 'vit'"),
        (swap_weights, r"belongs to other weights: weights_sha256 [0-9a-f]{12}…, but model\.safetensors"),
        (lambda folder: edit(folder / "metrics.json", weights_sha256=None), "no weights_sha256"),
        (lambda folder: edit(folder / "metrics.json", mAP=0.99), r"mAP 0\.99 is not what predictions\.parquet gives"),
        (lambda folder: edit(folder / "metrics.json", mAP=float("nan")), "mAP nan is not what"),
        (lambda folder: edit(folder / "metrics.json", AP={"red": 1.0}), "AP is not what"),
        (lambda folder: edit(folder / "metrics.json", imagenet_top1=0.8), "imagenet_top1, which this run did not"),
        (lambda folder: edit(folder / "metrics.json", holdout_mAP=1.5), r"holdout_mAP is 1\.5, no number from 0 to 1"),
        (lambda folder: edit(folder / "metrics.json", train_images="many"), "train_images is 'many'"),
        (lambda folder: group_labels(folder, mAP_rare=0.99), r"mAP_rare 0\.99 is not what"),
        (lambda folder: edit(folder / "metrics.json", mAP_rare=0.5), "has mAP_rare, which this run did not measure"),
        (other_scores, r"predictions\.parquet has scores outside \[0, 1\]"),
        (drop_labels, r"predictions\.parquet does not hold scores and targets of its labels \(.*score/red"),
        (raise_ap, r"per_label\.csv is not what predictions\.parquet gives"),
        (rename_backbone, "says backbone 'resnet50', but the model's is 'test_resnet'"),
        (lambda folder: edit(folder / "config.json", hidden_size=24), "cannot be loaded as a checkpoint"),
        (lambda folder: (folder / "preprocessor_config.json").write_text("{"), "preprocessor_config"),
    ],
)
def test_another_folder_is_refused_with_the_reason(folder: Path, spoil: Callable[[Path], Any], message: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=message):
        read_run(folder)
