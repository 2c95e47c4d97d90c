"""Look for wrong and missing labels in the images of a training run."""

import csv
import json
import os
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import expit

from sct_hf.curation.audit_page import AuditPage, differing, heatmaps_of
from sct_hf.curation.audit_table import Row, read_decisions, write_audit
from sct_hf.curation.baseline import INSTALL, cleanlab_ranks
from sct_hf.curation.embeddings import rows_of, run_embeddings
from sct_hf.curation.label_studio_tasks import Task, write_tasks
from sct_hf.curation.suspect_list import SuspectList, list_suspects
from sct_hf.data import LabelledImages
from sct_hf.data.shards.images import listed
from sct_hf.errors import InputError
from sct_hf.escaping import csv_cell
from sct_hf.files import atomic_write
from sct_hf.inference.tagger import Tagger
from sct_hf.progress import say
from sct_hf.training.accelerators import accelerator_of
from sct_hf.training.arguments import HELD_OUT, Arguments
from sct_hf.training.finished_run import arguments_of
from sct_hf.training.folds import Scored, out_of_fold, train_and_score
from sct_hf.training.run_data import RunData, load_run_data
from sct_hf.training.run_lock import run_lock
from sct_hf.training.stopping import StopSignals

CSV, PAGE, TASKS, PAIRS = "audit.csv", "audit.html", "tasks.json", "near_duplicates.csv"
"""The files of an audit."""

MOST, SHOWN = 1000, 60
"""Suspects in the table, and with pictures on the page, if nothing else is asked for."""

_HELD_OUT = "held_out"  # folder of the scores of held-out images


def audit(run: Path, output: Path, *, folds: int, most: int = MOST, shown: int = SHOWN) -> SuspectList:
    """Rank the labels of a run's images by how probably they are wrong, and write what there is to look at.

    Every image is scored by a model that did not see it: in K folds, and the images held out to be scored by a model
    trained on all others.

    Args:
        run: Folder of a finished run with cached maps.
        output: Folder to write to: `audit.csv`, `audit.html`, `tasks.json` with `tasks.xml`, `near_duplicates.csv`.
        folds: K, unless the run has out-of-fold scores.
        most: Most suspects in the table.
        shown: Most of them with pictures on the page.

    Raises:
        InputError: `run` is no run with cached maps, its images cannot be read or have other labels than its scores,
            or `output` has decisions.
    """
    _require_no_decisions(output / CSV)
    arguments = arguments_of(run)
    run_data = load_run_data(arguments.data, arguments.train.seed)
    accelerator = accelerator_of(arguments)
    tell = partial(say, accelerator)
    with StopSignals(accelerator) as signals, run_lock(run, accelerator):
        scored = out_of_fold(arguments, run_data, run, folds=folds, accelerator=accelerator, signals=signals)
        if arguments.data.eval_split == HELD_OUT:
            held_out = _held_out(arguments, run_data, output, signals)
            scored = _joined(scored, held_out)
        elif run_data.held_out is not None:
            tell(f"{len(run_data.held_out)} images that selected the model are not audited: --holdout 0 audits all")
    embeddings = run_embeddings(arguments, run_data, scored.image_ids, accelerator)
    whole = listed(run_data.all_training, "an audit")
    images = whole.select(rows_of(scored.image_ids, whole)).with_marks(scored.targets, scored.label_names)
    found = list_suspects(scored, embeddings, most, run_data.label_parents)
    try:
        ranks = cleanlab_ranks(expit(scored.logits), scored.targets)
        tell(f"cleanlab lists {np.count_nonzero(ranks):,} labels; their ranks are in the column cleanlab of {CSV}")
    except ImportError:
        ranks = np.zeros(scored.targets.shape, dtype=np.int64)
        tell(f"cleanlab is not installed, so its ranking is left out: {INSTALL}")
    if accelerator.is_main_process:
        _write(found, images, ranks, output)
        page = AuditPage(images, found, shown, heatmaps_of(Tagger.from_pretrained(run)))
        page.write(output / PAGE)
    tell(_summary(found, output))
    return found


def _require_no_decisions(path: Path) -> None:
    if path.exists() and (made := read_decisions(path).made):
        raise InputError(
            f"output_dir has {path}, which holds decisions ({made}): apply them by sct-hf relabel and delete it, or "
            "choose another folder"
        )


def _held_out(arguments: Arguments, run_data: RunData, output: Path, signals: StopSignals) -> Scored:
    training = listed(run_data.training, "an audit")
    scored = train_and_score(arguments, run_data, training, run_data.evaluation, output / _HELD_OUT, signals)
    return replace(scored, folds=np.full(len(scored.image_ids), -1))


def _joined(first: Scored, second: Scored) -> Scored:
    """The images of both."""
    return Scored(
        [*first.image_ids, *second.image_ids],
        first.label_names,
        np.concatenate([first.logits, second.logits]),
        np.concatenate([first.targets, second.targets]),
        np.concatenate([first.folds, second.folds]),
    )


def _write(found: SuspectList, images: LabelledImages, ranks: np.ndarray, output: Path) -> None:
    """Write the tables and tasks."""
    ids, names = images.image_ids, images.label_names
    rows = [
        Row(ids[one.row], names[one.label], one.given, one.score, one.kind, int(ranks[one.row, one.label]))
        for one in found.suspects
    ]
    write_audit(rows, output / CSV)
    with atomic_write(output / PAIRS) as temporary, temporary.open(
        "w", encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:  # fmt: skip
        table = csv.writer(file)
        table.writerow(["image", "other", "similarity", "labels_that_differ"])
        for pair in found.pairs:
            labels = differing(images, pair.first, pair.second)
            pair_ids = (csv_cell(ids[row]) for row in (pair.first, pair.second))
            table.writerow([*pair_ids, f"{pair.similarity:.4f}", csv_cell(json.dumps(labels, ensure_ascii=False))])
    write_tasks(_tasks(found, images), names, output / TASKS, source=f"sct-hf audit of {images.name} {images.split}")


def _tasks(found: SuspectList, images: LabelledImages) -> list[Task]:
    """A task for each image with a suspect label and a file, with all its suspect labels changed."""
    marks, score_of = images.marks.copy(), dict[int, float]()
    for one in found.suspects:
        marks[one.row, one.label] = 0 if one.given else 1
        score_of.setdefault(one.row, one.score)
    tasks = []
    for row, score in score_of.items():
        file = images.encoded(row)["path"]
        if file is not None and os.path.isfile(file):
            labels = [images.label_names[label] for label in np.flatnonzero(marks[row] == 1)]
            tasks.append(Task(file, labels, score))
    return tasks


def _summary(found: SuspectList, output: Path) -> str:
    noise, kinds = found.noise, Counter(one.kind for one in found.suspects)
    listed = ", ".join(f"{kinds[kind]} {kind}" for kind in ("missing", "wrong", "twins") if kinds[kind])
    return (
        f"about {found.expected:,.0f} labels are wrong: {noise.missing:.2%} of those that are there are missing, "
        f"{noise.spurious:.3%} of those that are not are given\n"
        f"{len(found.suspects):,} suspects ({listed}), {len(found.pairs):,} pairs of near-duplicates\n"
        f"look at {output / PAGE}, fill in the column decision of {output / CSV}, and apply it by sct-hf relabel"
    )
