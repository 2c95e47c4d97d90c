"""Calibration and thresholds of a trained model, from scores of images that it did not see."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from sct_hf.data.contents import image_contents
from sct_hf.data.shards.images import listed
from sct_hf.decisions import DEFAULT_PROFILES, Decisions, fit_decisions
from sct_hf.errors import InputError
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.progress import say
from sct_hf.training.arguments import Arguments
from sct_hf.training.checkpoints import room_to_save
from sct_hf.training.folds import Scored, out_of_fold
from sct_hf.training.reliability_figure import reliability_figure
from sct_hf.training.report import write_json
from sct_hf.training.run_data import RunData
from sct_hf.training.run_files import RunFile
from sct_hf.training.stopping import StopSignals


def decide(
    scored: Scored,
    contents: Sequence[str],
    evaluated: Collection[str],
    *,
    label_parents: dict[str, list[str]] | None = None,
    profiles: Sequence[str] = DEFAULT_PROFILES,
    seed: int = 0,
) -> tuple[Decisions, dict[str, Any]]:
    """Fit calibration and thresholds, without images that are evaluated too.

    Args:
        scored: Logits and targets of N images by models that did not see them.
        contents: N texts of `image_contents`.
        evaluated: Contents of images on which figures are reported.
        label_parents: Hierarchy of the labels.
        profiles: Names of the profiles to fit.
        seed: Seed of the splits that choose how far labels go their own way.

    Returns:
        The decisions, and the record of what they were fitted on, for decisions.json.

    Raises:
        InputError: All images are evaluated too, or a profile has no meaning.
    """
    apart = np.array([content not in evaluated for content in contents], dtype=bool)
    if not apart.any():
        raise InputError(
            f"all {len(apart)} images to fit calibration and thresholds on are images of training or of the figures, "
            "which would flatter them: give other images"
        )
    found = fit_decisions(
        scored.logits[apart], scored.targets[apart], list(scored.label_names), label_parents, profiles, seed
    )
    record = {
        "images": int(apart.sum()),
        "left_out_as_evaluated": int((~apart).sum()),
        "contents": [content for content, alone in zip(contents, apart, strict=True) if alone],
        **found.report,
    }
    return found, record


def set_decisions(config: BackboneConfig, found: Decisions) -> None:
    """Put calibration and thresholds into a model's configuration."""
    config.calibration = dict(found.calibration)
    config.thresholds = dict(found.thresholds)


def decide_by_folds(
    arguments: Arguments,
    run_data: RunData,
    config: BackboneConfig,
    accelerator: Accelerator,
    signals: StopSignals,
) -> None:
    """The last step of training: fit on out-of-fold scores of the training images, and write decisions.json.

    Args:
        arguments: Arguments of the run; `calibration_folds` is the number of folds, at most one for each image.
        run_data: Its images.
        config: Configuration of the trained model, which gets calibration and thresholds.
        accelerator: The accelerator of this process.
        signals: Signals that stop it.
    """
    folder, images = Path(arguments.train.output_dir), listed(run_data.training, "calibration_folds")
    folds = min(arguments.train.calibration_folds, len(images))
    evaluated = set(image_contents(run_data.evaluation))
    contents = image_contents(images)
    if folds < 2 or evaluated.issuperset(contents):
        say(accelerator, "scores are not calibrated: no training image is apart from those that are scored")
        return
    scored = out_of_fold(arguments, run_data, folder, folds=folds, accelerator=accelerator, signals=signals)
    try:
        found, record = decide(
            scored, contents, evaluated, label_parents=run_data.label_parents, seed=arguments.train.seed
        )
    except InputError as error:
        say(accelerator, f"scores are not calibrated: {error}")
        return
    set_decisions(config, found)
    if accelerator.is_main_process:
        record |= {"dataset": images.name, "split": images.split, "folds": folds}
        with room_to_save(folder):
            write_json(folder / RunFile.DECISIONS, record)
            if arguments.train.figures:
                reliability_figure(record["calibration"], folder / RunFile.RELIABILITY)
    say(accelerator, f"calibration and thresholds fitted on {record['images']} training images in {folds} folds")


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a folder's decisions.json says; None if it has none.

    Raises:
        InputError: It cannot be read.
    """
    path = folder / RunFile.DECISIONS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}): fit again by sct-hf calibrate") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no object: fit again by sct-hf calibrate")
    return found
