"""Scores of training images by models that did not see them: K folds on the cached maps of a frozen backbone."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accelerate import Accelerator

from sct_hf.data import LabelledImages
from sct_hf.data.contents import image_contents
from sct_hf.data.shards.images import listed
from sct_hf.errors import InputError
from sct_hf.files import atomic_write
from sct_hf.label_text.text_models import texts_encoded_once
from sct_hf.progress import say, silence
from sct_hf.training.accelerators import accelerator_of
from sct_hf.training.arguments import HELD_OUT, Arguments
from sct_hf.training.checkpoints import room_to_save
from sct_hf.training.identity import run_identity
from sct_hf.training.run import Run
from sct_hf.training.run_data import RunData
from sct_hf.training.run_files import RunFile
from sct_hf.training.run_folder import RunFolder
from sct_hf.training.run_lock import run_lock
from sct_hf.training.saved_scores import read_wide
from sct_hf.training.stopping import StopSignals

FOLDS = 5
"""Folds if nothing else is asked for."""

_LARGEST = 1 - 2**-24  # the largest float32 below 1: its logit is 16.6


@dataclass(frozen=True)
class Scored:
    """Logits of labelled images by models that were not trained on them.

    Attributes:
        image_ids: N names of images.
        label_names: C names.
        logits: (N, C) float32, within ±16.6 above and unbounded below.
        targets: (N, C) int8: 1 present, 0 absent, -1 unknown.
        folds: (N,) int64: which model scored the image.
    """

    image_ids: Sequence[str]
    label_names: Sequence[str]
    logits: np.ndarray
    targets: np.ndarray
    folds: np.ndarray

    def save(self, path: Path) -> None:
        """Write a parquet file with the columns `image_id`, `fold`, `logit/<label>` and `target/<label>`."""
        columns: dict[str, object] = {"image_id": list(self.image_ids), "fold": self.folds}
        for label, name in enumerate(self.label_names):
            columns |= {f"logit/{name}": self.logits[:, label], f"target/{name}": self.targets[:, label]}
        with atomic_write(path) as temporary:
            pd.DataFrame(columns).to_parquet(temporary, index=False)

    @classmethod
    def load(cls, path: Path) -> "Scored":
        """Read what `save` wrote.

        Raises:
            InputError: The file cannot be read as one.
        """
        try:
            table = read_wide(path)
            names = [name.removeprefix("logit/") for name in table.columns if name.startswith("logit/")]
            logits, targets = (table[[f"{kind}/{name}" for name in names]].to_numpy() for kind in ("logit", "target"))
            ids = table["image_id"].astype(str).tolist()
            return cls(ids, names, logits.astype(np.float32), targets.astype(np.int8), table["fold"].to_numpy())
        except Exception as error:  # a damaged parquet file makes pyarrow raise almost anything
            raise InputError(f"{path} cannot be read ({str(error)[:200]}): delete it, and score again") from error


def deal(targets: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Divide images among folds of equal size, and each rare label's images among all of them.

    Images go by the rarest label that they show, at random within a label, and are dealt in turn like cards. It is a
    simple form of iterative stratification (Sechidis et al., ECML PKDD 2011).

    Args:
        targets: (N, C): 1 present; other values count as absent.
        folds: K.
        seed: Seed of the order.

    Returns:
        (N,) int64, the fold of each image.

    Raises:
        InputError: K is below 2, or above N.
    """
    count = len(targets)
    if not 2 <= folds <= count:
        raise InputError(f"folds is {folds}, for {count} images: give from 2 to {count}")
    present = targets == 1  # (N, C)
    order = np.argsort(present.sum(0), kind="stable")  # the rarest label first
    shown = np.hstack([present[:, order], np.ones((count, 1), dtype=bool)])
    rarest = shown.argmax(1)  # (N,) C for an image without labels
    shuffled = np.random.default_rng(seed).permutation(count)
    dealt = shuffled[np.argsort(rarest[shuffled], kind="stable")]
    found = np.empty(count, dtype=np.int64)
    found[dealt] = np.arange(count) % folds
    return found


def deal_images(images: LabelledImages, folds: int, seed: int) -> np.ndarray:
    """The fold of each image, see `deal`; images with the same content are in the same fold.

    Raises:
        InputError: There are fewer different images than folds.
    """
    _, groups = np.unique(image_contents(images), return_inverse=True)  # (N,)
    shown = np.zeros((groups.max() + 1, len(images.label_names)), dtype=np.int8)
    np.maximum.at(shown, groups, images.targets().clip(0).astype(np.int8))
    return deal(shown, folds, seed)[groups]


def part_digest(arguments: Arguments, *parts: LabelledImages) -> str:
    """What decides the scores of a part, in 12 hexadecimal digits: settings, images and labels."""
    told: list[Any] = [run_identity(arguments), *(list(images.image_ids) for images in parts)]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode("utf-8", "surrogatepass"))
    for images in parts:
        digest.update(np.ascontiguousarray(images.targets()).tobytes())
    return digest.hexdigest()[:12]


def train_and_score(
    arguments: Arguments,
    run_data: RunData,
    training: LabelledImages,
    scored: LabelledImages,
    folder: Path,
    signals: StopSignals,
) -> Scored:
    """Train on a part of a run's training images and score another part; nothing selects the epoch.

    Both parts share the run's cached maps. A finished part is read back, and an unfinished one continues.

    Args:
        arguments: Arguments of the run, with `cache_features`.
        run_data: Its images.
        training: Part of `run_data.all_training` to train on.
        scored: Part of `run_data.all_training` to score.
        folder: Folder of this part. Its work is in a folder below, named by settings, images and labels, so that a
            part of other ones is never taken for it.
        signals: Signals that stop it.

    Raises:
        InputError: The run caches no maps, or the folder has another run.
    """
    folder = folder / part_digest(arguments, training, scored)
    done = folder / RunFile.OUT_OF_FOLD
    if done.exists():
        return Scored.load(done)
    part = replace(
        arguments,
        data=replace(arguments.data, eval_split=HELD_OUT, holdout=arguments.data.holdout or 0.5),
        train=replace(
            arguments.train, output_dir=str(folder), resume=True, overwrite_output_dir=False, figures=False,
            report_to="none",
        ),
    )  # fmt: skip
    accelerator = accelerator_of(part)
    parts = replace(run_data, training=training, held_out=None, evaluation=scored, split=None, with_unseen=None)
    with run_lock(folder, accelerator), silence():
        own = RunFolder(part)
        run = Run(part, own, parts, accelerator, signals)
        if accelerator.is_main_process:
            with room_to_save(folder):
                own.claim()
        accelerator.wait_for_everyone()
        run.resume()
        run.fit()
        scores, targets = run.score()
        found = Scored(
            scored.image_ids,
            scored.label_names,
            as_logits(scores),
            targets.astype(np.int8),
            np.zeros(len(scored), int),
        )
        if accelerator.is_main_process:
            with room_to_save(folder):
                found.save(done)
            own.finish()
        accelerator.wait_for_everyone()
        accelerator.free_memory()
    return found


@texts_encoded_once()
def out_of_fold(
    arguments: Arguments,
    run_data: RunData,
    folder: Path,
    *,
    folds: int = FOLDS,
    accelerator: Accelerator,
    signals: StopSignals,
) -> Scored:
    """Score each training image by a model that did not see it.

    K models are trained, each on all folds but one, with the run's settings and for its last epoch. Their work is in
    `folds/` until all are finished, so a killed call continues.

    Args:
        arguments: Arguments of the run.
        run_data: Its images; those of `run_data.training` are scored.
        folder: Folder of the run, in which `out_of_fold.parquet` is written. If it exists, it is read.
        folds: K.
        accelerator: The accelerator of this process.
        signals: Signals that stop it.

    Raises:
        InputError: The run caches no maps, there are fewer images than folds, or a folder has another run.
    """
    target, parts = folder / RunFile.OUT_OF_FOLD, folder / RunFile.FOLDS
    images = listed(run_data.training, "scores of folds")
    if target.exists():
        found = _of_images(Scored.load(target), images, target)
        say(accelerator, f"the scores in {target} are used, of {found.folds.max() + 1} folds")
        return found
    require_cached_maps(arguments)
    dealt = deal_images(images, folds, arguments.train.seed)
    scored_parts = []
    for fold in range(folds):
        say(
            accelerator,
            f"fold {fold + 1} of {folds}: {np.sum(dealt != fold)} images train, {np.sum(dealt == fold)} are scored",
        )
        training, scored = images.select(np.flatnonzero(dealt != fold)), images.select(np.flatnonzero(dealt == fold))
        scored_parts.append(
            train_and_score(arguments, run_data, training, scored, parts / f"{fold + 1}-of-{folds}", signals)
        )
    order = np.argsort(np.concatenate([np.flatnonzero(dealt == fold) for fold in range(folds)]))
    together = Scored(
        list(images.image_ids),
        images.label_names,
        np.concatenate([part.logits for part in scored_parts])[order],
        np.concatenate([part.targets for part in scored_parts])[order],
        dealt,
    )
    if accelerator.is_main_process:
        with room_to_save(folder):
            together.save(target)
        shutil.rmtree(parts)
    accelerator.wait_for_everyone()
    return together


def require_cached_maps(arguments: Arguments) -> None:
    """Raise `InputError` unless a run has cached maps, without which K folds take K trainings of a backbone."""
    if not arguments.train.cache_features:
        raise InputError(
            "cache_features is not set, and out-of-fold scores need the cached maps of a frozen backbone: add "
            "--freeze_backbone true --cache_features true, or give images of their own to fit on"
        )


def _of_images(found: Scored, images: LabelledImages, path: Path) -> Scored:
    """Scores of exactly these images, with these labels."""
    same = list(found.image_ids) == list(images.image_ids) and list(found.label_names) == list(images.label_names)
    if not (same and np.array_equal(found.targets, images.targets())):
        raise InputError(
            f"{path} has scores of other images or labels than the data has now: train again, or delete it"
        )
    return found


def as_logits(scores: np.ndarray) -> np.ndarray:
    """Logits (N, C) float32 of scores; those of 0 and 1 are those of the nearest scores between."""
    within = np.clip(scores.astype(np.float64), np.finfo(np.float32).tiny, _LARGEST)
    return (np.log(within) - np.log1p(-within)).astype(np.float32)
