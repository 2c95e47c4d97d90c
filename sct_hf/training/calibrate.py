"""Fit calibration and thresholds to a checkpoint in a folder, and write them into it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accelerate import Accelerator
from transformers import AutoConfig

from sct_hf.data import ImageDataset, LabelledImages, eval_transform
from sct_hf.data.contents import image_contents
from sct_hf.data.hierarchies import with_parents
from sct_hf.data.shards.images import listed
from sct_hf.decisions import Decisions
from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.files import atomic_write
from sct_hf.name_lists import FEW, PRINTED
from sct_hf.pretrained import load_pretrained
from sct_hf.training.accelerators import accelerator_of
from sct_hf.training.arguments import Arguments, EvaluationDataArguments
from sct_hf.training.calibration_arguments import CalibrationArguments
from sct_hf.training.data_checks import check_run_data
from sct_hf.training.decide import decide, set_decisions
from sct_hf.training.devices import make_accelerator
from sct_hf.training.evaluation import evaluate_model
from sct_hf.training.finished_run import arguments_of, trained_on, training_images
from sct_hf.training.folds import Scored, as_logits, out_of_fold
from sct_hf.training.loaders import make_loader
from sct_hf.training.models import load_model
from sct_hf.training.reliability_figure import reliability_figure
from sct_hf.training.report import percent, write_json
from sct_hf.training.rescore import rescore
from sct_hf.training.run_data import load_evaluation_images, load_run_data
from sct_hf.training.run_files import RunFile
from sct_hf.training.run_lock import run_lock
from sct_hf.training.saved_scores import read_predictions
from sct_hf.training.stopping import StopSignals


def calibrate(arguments: CalibrationArguments, data: EvaluationDataArguments | None) -> dict[str, Any]:
    """Fit a checkpoint's calibration and thresholds, and write config.json and decisions.json.

    Weights and logits stay as they are. Figures in the folder become those of the new scores.

    Args:
        arguments: Options of the checkpoint and the fit.
        data: Options of images to fit on; None for out-of-fold scores of the run's own training images.

    Returns:
        The content of decisions.json.

    Raises:
        InputError: The checkpoint or the images cannot be used, or all images are among those that it reports on.
    """
    folder = Path(arguments.model)
    if not (folder / RunFile.CONFIG).is_file():
        raise InputError(f"model is {str(folder)!r}, which holds no {RunFile.CONFIG}: name the folder of a checkpoint")
    run = arguments_of(folder) if data is None else None
    accelerator = _accelerator(arguments) if run is None else accelerator_of(run)
    with run_lock(folder, accelerator):
        if run is not None:
            fitted = _of_run(arguments, folder, run, accelerator)
        else:
            assert data is not None
            fitted = _of_images(arguments, folder, data, accelerator)
        scored, contents, evaluated, facts, parents = fitted
        found, record = decide(
            scored, contents, evaluated, label_parents=parents, profiles=arguments.profiles, seed=arguments.seed
        )
        record = facts | record
        if accelerator.is_main_process:
            _write(folder, found, record)
        accelerator.wait_for_everyone()
    return record


def _write(folder: Path, found: Decisions, record: dict[str, Any]) -> None:
    """Write all files, config.json last: after a kill, the next call still knows what the saved scores come from."""
    config = load_pretrained(AutoConfig, folder)
    before = config.calibration
    set_decisions(config, found)
    rescore(folder, before, config)
    write_json(folder / RunFile.DECISIONS, record)
    reliability_figure(record["calibration"], folder / RunFile.RELIABILITY)
    _write_config(folder / RunFile.CONFIG, found)


def _accelerator(arguments: CalibrationArguments) -> Accelerator:
    return make_accelerator(mixed_precision="no", cpu_threads=arguments.cpu_threads, seed=arguments.seed)


_Scores = tuple[Scored, list[str], set[str], dict[str, Any], dict[str, list[str]] | None]


def _of_run(arguments: CalibrationArguments, folder: Path, run: Arguments, accelerator: Accelerator) -> _Scores:
    """Out-of-fold scores of a run's training images."""
    run_data = load_run_data(run.data, run.train.seed, check_run_data(run.data) if run.data.check_data else None)
    with StopSignals(accelerator) as signals:
        scored = out_of_fold(run, run_data, folder, folds=arguments.folds, accelerator=accelerator, signals=signals)
    images = listed(run_data.training, "calibration")
    facts = {"dataset": images.name, "split": images.split, "folds": int(scored.folds.max()) + 1}
    contents, evaluated = image_contents(images), set(image_contents(run_data.evaluation))
    return scored, contents, evaluated, facts, run_data.label_parents


def _of_images(
    arguments: CalibrationArguments, folder: Path, data: EvaluationDataArguments, accelerator: Accelerator
) -> _Scores:
    """Scores of images that the user gives."""
    if trained_on(folder, data):
        raise InputError(
            f"{data.dataset} {data.eval_split} trained the model, so its scores there are too sure: give other "
            "images, or none, and the run's own images are scored by models that did not see them"
        )
    model = load_model(arguments.model, field="model")
    images = load_evaluation_images(data, arguments.seed)
    names, parents = model.config.label_names, model.config.label_parents
    images = (with_parents(images, parents) if parents else images).aligned_to(names)
    model.config.calibration = None
    scores, targets = _scores(model, images, data, arguments.batch_size, accelerator)
    scored = Scored(images.image_ids, names, as_logits(scores), targets.astype(np.int8), np.zeros(len(images), int))
    facts = {"dataset": images.name, "split": images.split}
    return (
        scored,
        image_contents(images),
        _reported(folder, images) | (training_images(folder) or set()),
        facts,
        parents,
    )


def _scores(
    model: Any, images: LabelledImages, data: EvaluationDataArguments, batch_size: int, accelerator: Accelerator
) -> tuple[np.ndarray, np.ndarray]:
    model.to(accelerator.device)
    config = model.config
    dataset = ImageDataset(images, eval_transform(config.image_size, config.image_mean, config.image_std))
    loader = make_loader(dataset, data, batch_size, accelerator)
    scores, targets, _ = evaluate_model(model, loader, accelerator, description=images.split)
    return scores, targets


def _reported(folder: Path, images: LabelledImages) -> set[str]:
    """Contents of the images that the figures in a checkpoint's folder are of; empty if it has none.

    Raises:
        InputError: The figures are of this split, and do not say of which images.
    """
    if not (folder / RunFile.PREDICTIONS).is_file():
        return set()
    contents = read_predictions(folder).contents
    if contents is None:
        metrics = json.loads((folder / RunFile.METRICS).read_text(encoding="utf-8"))
        if (metrics.get("dataset"), metrics.get("split")) == (images.name, images.split):
            raise InputError(
                f"the figures in {str(folder)!r} are of {images.name} {images.split} too, which would flatter them: "
                "give other images"
            )
    return set(contents or ())


def _write_config(path: Path, found: Decisions) -> None:
    """Put the decisions into a config.json, and change nothing else in it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= {"calibration": found.calibration, "thresholds": found.thresholds}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def format_decisions(record: dict[str, Any]) -> str:
    """The record of a fit as text: what it was fitted on, calibration errors, and the thresholds of each profile."""
    where = f"Fitted on {record['images']} images of {record['dataset']} {record['split']}"
    where += f" in {record['folds']} folds" if "folds" in record else ""
    if left := record["left_out_as_evaluated"]:
        where += f"; {left} more are left out, since training or the checkpoint's figures used them"
    error = {when: record["calibration"][when]["ECE_mean"] for when in ("before", "after")}
    profiles = record["profiles"]
    labels = next(iter(profiles.values()))["labels"]
    names, left = list(labels), ""
    if len(names) > PRINTED:
        names = sorted(names, key=lambda name: -labels[name]["positives"])[:FEW]
        left = f"\nthe {FEW} labels with the most positives; {RunFile.DECISIONS} has all {len(labels):,}"
    rows = {
        in_line(name): [labels[name]["positives"], *(_threshold(found["labels"][name]) for found in profiles.values())]
        for name in names
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["positives", *profiles])
    return (
        f"{where}\ncalibration error, mean of the labels: {percent(error['before'])} % before, "
        f"{percent(error['after'])} % after, cross-validated\n\n{table.to_string()}{left}\n\n"
        "a dash: not reachable with these positives, so the label is no tag in this profile; 0.000 in recall: only "
        "tagging all images keeps the promise"
    )


def _threshold(facts: dict[str, Any]) -> str:
    return "–" if facts["threshold"] is None else f"{facts['threshold']:.3f}"
