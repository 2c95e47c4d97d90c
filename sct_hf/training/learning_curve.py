"""How much more images would give: scores after training on a quarter, a half and all of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from sct_hf.data.shards.images import listed
from sct_hf.errors import InputError
from sct_hf.files import atomic_write
from sct_hf.label_text.text_models import texts_encoded_once
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.progress import say
from sct_hf.training.accelerators import accelerator_of
from sct_hf.training.arguments import Arguments, option_defaults
from sct_hf.training.checkpoints import room_to_save
from sct_hf.training.curve import LearningCurve
from sct_hf.training.curve_files import write_curve_figure, write_curve_page
from sct_hf.training.data_checks import check_run_data
from sct_hf.training.folds import deal_images, require_cached_maps, train_and_score
from sct_hf.training.launch import command_to_go_on
from sct_hf.training.power_law import forecast
from sct_hf.training.redrawing import redrawn
from sct_hf.training.run_data import load_run_data
from sct_hf.training.run_lock import run_lock
from sct_hf.training.stopping import StoppedError, StopSignals

SHARES = (0.25, 0.5, 1.0)
FOLDS = 5
_LEAST = 10  # images of the smallest part


def learning_curve(arguments: Arguments, folds: int = FOLDS) -> LearningCurve:
    """Train on parts of the training images, score held-out folds, and write `learning_curve.json`, .png and .html.

    For each of K folds, a quarter, a half and all of the other images train, each part within the next; all score the
    same fold. Every part is trained with the run's settings, for as many epochs. Finished parts are kept in the output
    folder, so a killed call continues.

    Args:
        arguments: Arguments of training; `output_dir` is the folder to write into.
        folds: K.

    Raises:
        InputError: The run caches no maps, there are too few images, or the folder cannot be used.
        StoppedError: A `SystemExit` after Ctrl-C or SIGTERM.
    """
    require_cached_maps(arguments)
    for name in ("known_proportion", "single_positive", "shots", "unseen_labels"):
        if (value := getattr(arguments.data, name)) != option_defaults()[name]:
            raise InputError(f"{name} is {value!r}, but a curve is of all images with all labels: leave it out")
    accelerator = accelerator_of(arguments)
    folder = Path(arguments.train.output_dir)
    go_on = command_to_go_on(resumes=True)
    with StopSignals(accelerator) as signals:
        try:
            with run_lock(folder, accelerator):
                curve = _measure(arguments, folds, folder, accelerator, signals)
                if accelerator.is_main_process:
                    with room_to_save(folder):
                        _write(curve, folder, arguments)
        except StoppedError as stopped:
            say(accelerator, f"stopped by {stopped.name}; finished parts are kept; to continue: {go_on}")
            raise
    accelerator.end_training()
    return curve


@texts_encoded_once()
def _measure(
    arguments: Arguments, folds: int, folder: Path, accelerator: Accelerator, signals: StopSignals
) -> LearningCurve:
    with accelerator.main_process_first():
        listings = check_run_data(arguments.data) if arguments.data.check_data else None
        run_data = load_run_data(arguments.data, arguments.train.seed, listings)
    images = listed(run_data.all_training, "a learning curve")  # nothing is selected or scored beside the folds
    targets = images.targets()  # (N, C)
    _require_enough(len(images), folds)
    dealt = deal_images(images, folds, arguments.train.seed)
    kept = scored_labels(targets, dealt)
    if not kept.any():
        raise InputError(
            f"training images: no label has an image with it, and one without, in each of {folds} folds; label more "
            "images, or give fewer folds"
        )
    parts = folder / "parts"
    logits = np.empty((len(SHARES), *targets.shape), dtype=np.float32)  # (S, N, C)
    sizes = np.empty((folds, len(SHARES)))
    for fold in range(folds):
        rest, held_out = np.flatnonzero(dealt != fold), np.flatnonzero(dealt == fold)
        order = np.random.default_rng([arguments.train.seed, fold]).permutation(rest)
        for place, share in enumerate(SHARES):
            rows = np.sort(order[: round(share * len(order))])
            sizes[fold, place] = len(rows)
            say(accelerator, f"fold {fold + 1} of {folds}: {len(rows)} images train, {len(held_out)} are scored")
            own = parts / f"{fold + 1}-of-{folds}-{share:.0%}"
            found = train_and_score(
                arguments, run_data, images.select(rows), images.select(held_out), own, signals
            )  # fmt: skip
            logits[place, held_out] = found.logits
    names = [name for name, has in zip(images.label_names, kept, strict=True) if has]
    return curve_of(
        logits[:, :, kept], targets[:, kept], dealt, sizes.mean(0), names,
        [name for name, has in zip(images.label_names, kept, strict=True) if not has], arguments.train.seed,
    )  # fmt: skip


def scored_labels(targets: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Labels with a present and an absent image in each fold: (N, C), (N,) → (C,) bool."""
    in_each = [targets[folds == fold] for fold in range(int(folds.max()) + 1)]
    return np.all([(part == 1).any(0) & (part == 0).any(0) for part in in_each], axis=0)


def curve_of(
    logits: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    sizes: np.ndarray,
    label_names: Sequence[str],
    left_out: Sequence[str],
    seed: int,
) -> LearningCurve:
    """The curve of out-of-fold logits (S, N, C) at S sizes, for targets (N, C) and folds (N,)."""
    per_label = np.array([_per_label(part, targets, folds) for part in logits]).T  # (C, S)
    means = per_label.mean(0)  # (S,)
    draws = redrawn(logits, targets, folds, means, seed)
    count = len(targets)
    now, twice = (forecast(sizes, draws, size, count) for size in (count, 2 * count))
    rounded = [round(float(size)) for size in sizes]
    errors = draws.std(0).tolist()
    return LearningCurve(
        count, rounded, means.tolist(), errors, list(label_names), per_label.tolist(), list(left_out), now, twice
    )


def _per_label(logits: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """AP (C,) of each label, the mean over folds."""
    rows = [folds == fold for fold in range(int(folds.max()) + 1)]
    found = [list(multilabel_metrics(logits[row], targets[row], 0.0)["AP"].values()) for row in rows]
    return np.array(found, dtype=float).mean(0)


def _require_enough(count: int, folds: int) -> None:
    if folds < 2:
        raise InputError(f"folds is {folds}: give a number from 2")
    least = int(np.ceil(_LEAST / SHARES[0] * folds / (folds - 1)))
    if count < least:
        raise InputError(
            f"training images: there are {count}, and a curve with {folds} folds takes at least {least}, so that a "
            f"quarter is {_LEAST}; label more images"
        )


def _write(curve: LearningCurve, folder: Path, arguments: Arguments) -> None:
    with atomic_write(folder / "learning_curve.json") as temporary:
        content = asdict(curve) | {"command": ["sct-hf", "learning-curve", *arguments.command()[2:]]}
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8", errors="replace")
    write_curve_figure(curve, folder / "learning_curve.png")
    write_curve_page(curve, folder / "learning_curve.html")
