"""Score a checkpoint on any data set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sct_hf.data import ImageDataset, LabelledImages, eval_transform
from sct_hf.data.contents import image_contents
from sct_hf.data.hierarchies import with_parents
from sct_hf.data.label_splits import split_labels
from sct_hf.errors import InputError
from sct_hf.files import sha256_of_file
from sct_hf.label_text.words import label_words
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.metrics.hierarchical import hierarchical_metrics
from sct_hf.model.backbone_sct import capability
from sct_hf.name_lists import PRINTED, some
from sct_hf.progress import say
from sct_hf.training.acting import acting_metrics
from sct_hf.training.arguments import EvaluationDataArguments, ScoringArguments
from sct_hf.training.checkpoints import room_to_save
from sct_hf.training.data_checks import read_boxes
from sct_hf.training.decide import read_record
from sct_hf.training.devices import make_accelerator
from sct_hf.training.evaluation import evaluate_model
from sct_hf.training.finished_run import trained_on, training_images
from sct_hf.training.known_labels import format_known_labels, score_with_known_labels
from sct_hf.training.loaders import make_loader
from sct_hf.training.localisation import check_maps, format_localisation, load_cam, score_localisation
from sct_hf.training.models import TaggingModel, load_model
from sct_hf.training.report import Predictions, format_table, labels_not_judged, training_note, write_scores
from sct_hf.training.report_page import write_report_page
from sct_hf.training.run_data import load_evaluation_images
from sct_hf.training.run_files import RunFile
from sct_hf.training.run_folder import package_versions
from sct_hf.training.zero_shot import UnseenLabels, format_zero_shot


def score_checkpoint(arguments: ScoringArguments, data: EvaluationDataArguments) -> dict[str, Any]:
    """Score a checkpoint, print the table and write metrics.json, per_label.csv, predictions.parquet, report.html.

    Labels of the model that the data set lacks are unknown and not scored, except parents in the model's hierarchy,
    which follow from their children. With `unseen_labels`, these are also scored by their text (`zero_shot` in
    metrics.json), and labels of the data set that are neither seen nor unseen are left out. With `known_shares`, the
    labels are scored again for each share that the model is told (`known_labels` in metrics.json). With
    `localisation`, the maps of labels are compared with boxes (`localisation` in metrics.json).

    Args:
        arguments: Options of the checkpoint and the scoring.
        data: Options of the data.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: A checkpoint does not exist or does not suit the options, it lacks a label of the data set, or the
            reader found errors.
    """
    folder = Path(arguments.output_dir)
    if (folder / RunFile.ARGUMENTS).exists():
        raise InputError(f"output_dir is {str(folder)!r}, the folder of a training run: choose another folder")
    accelerator = make_accelerator(
        mixed_precision=arguments.mixed_precision, cpu_threads=arguments.cpu_threads, seed=arguments.seed
    )
    with accelerator.main_process_first():
        model = load_model(arguments.model, field="model")
        cam, boxes = None, None
        if arguments.localisation:
            check_maps(model, "model", arguments.model)
            cam = load_cam(arguments.cam_checkpoint, model) if arguments.cam_checkpoint else None
            boxes = read_boxes(data)
        images = load_evaluation_images(data, arguments.seed)
    names, parents = model.config.label_names, model.config.label_parents
    if arguments.known_shares and not capability(model, "takes_known_labels"):
        raise InputError(
            f"known_shares is {arguments.known_shares}, but the labels of {arguments.model!r} have no states: give a "
            "checkpoint trained with --head sct_known_labels"
        )
    images = with_parents(images, parents) if parents else images
    unseen, with_unseen = None, images
    if data.unseen_labels is not None:
        unseen = _unseen_labels(model, images, data.unseen_labels, arguments.label_encoder)
        with_unseen = images.with_labels([*unseen.seen, *unseen.unseen])
        images = images.with_labels(unseen.seen)
    images = images.aligned_to(names)
    model.to(accelerator.device)
    model.backbone.to(memory_format=torch.channels_last)
    config = model.config
    dataset = ImageDataset(images, eval_transform(config.image_size, config.image_mean, config.image_std))
    loader = make_loader(dataset, data, arguments.batch_size, accelerator)
    scores, targets, _ = evaluate_model(model, loader, accelerator, description=images.split)
    metrics = multilabel_metrics(scores, targets, label_names=names)
    if parents:
        metrics |= hierarchical_metrics(scores, targets, parents, names)
    metrics |= acting_metrics(scores, targets, config)
    metrics |= {
        "model": arguments.model,
        "dataset": images.name,
        "split": images.split,
        "labels_not_judged": labels_not_judged(targets, names),
        "skipped_images": list(images.skipped),
    }
    weights = Path(arguments.model) / RunFile.WEIGHTS
    if weights.is_file():
        metrics["weights_sha256"] = sha256_of_file(weights)
    contents = image_contents(images)
    if fitted := _fitted_on(Path(arguments.model), contents):
        metrics["scored_in_calibration"] = fitted
    known = training_images(Path(arguments.model))
    if known is None:
        seen = len(images) if trained_on(Path(arguments.model), data) else 0
    else:
        seen = sum(content in known for content in contents)
    if seen:
        metrics["scored_in_training"] = seen
    if unseen is not None:
        metrics["zero_shot"] = unseen.score(model, loader, with_unseen.targets(), accelerator)
    if arguments.known_shares:
        metrics["known_labels"] = score_with_known_labels(
            model, loader, images, scores, accelerator, shares=arguments.known_shares, seed=arguments.seed
        )
    if boxes is not None:
        metrics["localisation"] = score_localisation(
            model, cam, images, boxes, data, arguments.batch_size, accelerator
        )
    if accelerator.is_main_process:
        predictions = Predictions(images.image_ids, scores, targets, names, contents=contents)
        record = {"arguments": asdict(arguments) | asdict(data), "versions": package_versions()}
        texts = _further_texts(metrics)
        with room_to_save(folder):
            write_scores(folder, metrics=metrics, predictions=predictions)
            write_report_page(folder, metrics, predictions, model, record, images, texts=texts)
        table = format_table(metrics, names, predictions=predictions)
        if seen:
            texts.append(training_note(seen, len(images)))
        if fitted:
            texts.append(f"{fitted} of the {len(images)} scored images also set calibration and thresholds")
        if missing := metrics["labels_not_judged"]:
            texts.append(f"not judged in any image of the data set: {some(missing, PRINTED)}")
        for text in (f"{images.name} {images.split}", table, *texts, f"The scores are in {folder}"):
            say(accelerator, f"\n{text}")
    accelerator.end_training()
    return metrics


def _fitted_on(folder: Path, contents: Sequence[str]) -> int:
    """Number of these images that calibration and thresholds of the checkpoint in `folder` were fitted on."""
    used = (read_record(folder) or {}).get("contents") or []
    return len(set(used) & set(contents))


def _further_texts(metrics: Mapping[str, Any]) -> list[str]:
    """The printed blocks of what was asked for besides the tags."""
    formats: dict[str, Callable[[Any], str]] = {
        "zero_shot": format_zero_shot,
        "known_labels": format_known_labels,
        "localisation": format_localisation,
    }
    return [form(metrics[name]) for name, form in formats.items() if name in metrics]


def _unseen_labels(model: TaggingModel, images: LabelledImages, text: str, encoder: str | None) -> UnseenLabels:
    """The seen and unseen labels of a data set for this model."""
    split = split_labels(text, images.label_names)
    trained = {label_words(name) for name in getattr(model.config, "seen_labels", None) or model.config.label_names}
    known = [name for name in split.unseen if label_words(name) in trained]
    if known:
        raise InputError(f"unseen_labels has {known[0]!r}, which the model was trained on: leave it out")
    seen = [name for name in model.config.label_names if name in split.seen]
    return UnseenLabels(model, seen, split.unseen, encoder)
