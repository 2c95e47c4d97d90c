"""The images of a run: listed and split into parts, each with its visible labels."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sct_hf.data import LabelledImages
from sct_hf.data.assemble import labelled_images
from sct_hf.data.few_shot import few_shot_rows
from sct_hf.data.hierarchies import load_hierarchy, with_parents
from sct_hf.data.image_sources import ImageFiles
from sct_hf.data.label_splits import LabelSplit, split_labels
from sct_hf.data.listing import Listing, check_names, read_label_names
from sct_hf.data.looks import examine
from sct_hf.data.masks import hide_labels
from sct_hf.data.problems import Problems
from sct_hf.data.shards.images import ShardImages, StreamedImages, TrainingImages, listed
from sct_hf.data.shards.reader import listing_of
from sct_hf.errors import InputError
from sct_hf.name_lists import some
from sct_hf.training.arguments import HELD_OUT, DataArguments, EvaluationDataArguments
from sct_hf.training.data_checks import Part, RunListings, list_split, stream_training


@dataclass(frozen=True)
class RunData:
    """The images of a run.

    Attributes:
        all_training: The training split, which includes `training` and `held_out`.
        training: The images to train on.
        held_out: The images that select the model, with labels as in evaluation; None if nothing selects.
        evaluation: The images to score at the end: the evaluation split, or the held-out part.
        label_parents: {label: its parents} if the labels have a hierarchy; parents are labels of all parts.
        split: Seen and unseen labels; None if all are trained on. The fields above have only seen labels.
        with_unseen: The images of `evaluation` with the seen, then the unseen labels, if there are any.
    """

    all_training: TrainingImages
    training: TrainingImages
    held_out: LabelledImages | None
    evaluation: LabelledImages
    label_parents: dict[str, list[str]] | None = None
    split: LabelSplit | None = None
    with_unseen: LabelledImages | None = None

    def scored_in_training(self) -> int:
        """Number of scored images that also train or select the model, by their files and names.

        Images of the Hub count if both are from one split.
        """
        parts = [part for part in (self.training, self.held_out) if isinstance(part, LabelledImages)]
        known = {key for part in parts for key in _keys(part)}
        streamed = self.training.holds(self.evaluation.source) if isinstance(self.training, StreamedImages) else 0
        return streamed + sum(key in known for key in _keys(self.evaluation))


def _keys(images: LabelledImages) -> list[object]:
    """What an image is known by, across splits where it is a file."""
    if isinstance(images.source, ImageFiles):
        return list(images.source.paths)
    if isinstance(images.source, ShardImages):
        return [(images.source.index.home, number) for number in images.source.numbers.tolist()]
    return [(images.split, image_id) for image_id in images.image_ids]


def load_evaluation_images(data: EvaluationDataArguments, seed: int, listing: Listing | None = None) -> LabelledImages:
    """Read the images to score.

    Args:
        data: Options of the data.
        seed: Seed that draws `max_eval_samples`.
        listing: The split listed by `check_run_data`; if None, it is listed now.

    Raises:
        InputError: The reader found errors.
    """
    listing = listing or _list(data, "eval")
    return _images(data, listing, data.eval_split, difficult_unknown=True).subset(data.max_eval_samples or None, seed)


def load_run_data(data: DataArguments, seed: int, listings: RunListings | None = None) -> RunData:
    """Read training and evaluation images, and hold out a part of the training images.

    With `eval_split` held_out, the evaluation split is not read. With `unseen_labels`, the columns of these labels are
    dropped from training and model selection. Labels are hidden only in the images to train on: as in the literature
    on incomplete labels, selection and evaluation keep all labels. `shots` draws from the remaining training images.

    Args:
        data: Options of the data.
        seed: Seed of all draws.
        listings: The splits listed by `check_run_data`; if None, they are listed now, and only images are checked.

    Raises:
        InputError: The reader found errors, the splits have different labels, or the hierarchy is wrong.
    """
    run_data = _read_images(data, seed, listings)
    if data.unseen_labels is not None:
        run_data = _without_unseen(run_data, data.unseen_labels, data.unseen_images)
    if data.hides_labels:
        shown = listed(run_data.training, f"known_proportion is {data.known_proportion}")
        run_data = replace(run_data, training=_hidden(shown, data, seed))
    if data.hierarchy is not None:
        run_data = _with_parents(run_data, data.hierarchy)
    if data.shots:
        training = listed(run_data.training, f"shots is {data.shots}")
        drawn = training.select(few_shot_rows(training.targets(), data.shots, seed))
        run_data = replace(run_data, training=drawn)
    return run_data


def load_training_images(data: DataArguments, seed: int) -> LabelledImages:
    """List the training images with hidden labels; options that change labels in other ways are refused.

    Raises:
        InputError: The reader found errors, or an option changes labels in another way.
    """
    for name in ("hierarchy", "unseen_labels", "shots"):
        if value := getattr(data, name):
            raise InputError(
                f"{name} is {value!r}, which sct-hf train applies itself: leave it out here, and give it there"
            )
    images = listed(_read_training_images(data, seed, None)[1], f"dataset is {data.dataset!r}")
    return _hidden(images, data, seed)


def _hidden(training: LabelledImages, data: DataArguments, seed: int) -> LabelledImages:
    return hide_labels(
        training,
        split=data.train_split,
        proportion=data.known_proportion,
        single_positive=data.single_positive,
        seed=seed if data.mask_seed is None else data.mask_seed,
    )


def _with_parents(run_data: RunData, hierarchy: str) -> RunData:
    parents = load_hierarchy(hierarchy, run_data.all_training.label_names)
    held_out = run_data.held_out
    return replace(
        run_data,
        all_training=with_parents(listed(run_data.all_training, f"hierarchy is {hierarchy!r}"), parents),
        training=with_parents(listed(run_data.training, f"hierarchy is {hierarchy!r}"), parents),
        held_out=None if held_out is None else with_parents(held_out, parents),
        evaluation=with_parents(run_data.evaluation, parents),
        label_parents=parents,
    )


def _without_unseen(run_data: RunData, unseen: str, showing_them: str) -> RunData:
    """Drop the unseen labels; if `showing_them` is "drop", also drop training images that show one."""
    whole, training = (
        listed(part, f"unseen_labels is {unseen!r}") for part in (run_data.all_training, run_data.training)
    )
    evaluation = run_data.evaluation
    split = split_labels(unseen, training.label_names, evaluation.label_names)
    if showing_them == "drop":
        columns = [training.label_names.index(name) for name in split.unseen if name in training.label_names]
        shown = (training.targets()[:, columns] == 1).any(axis=1)  # (N,)
        training = training.select(np.flatnonzero(~shown).tolist())
    both = [*split.seen, *split.unseen]
    strange = set(evaluation.label_names) - {*whole.label_names, *split.unseen}
    if strange:
        evaluation.aligned_to(both)  # says which labels the model does not know
    with_unseen = evaluation.with_labels([name for name in both if name in evaluation.label_names]).aligned_to(both)
    return replace(
        run_data,
        all_training=whole.with_labels(split.seen),
        training=training.with_labels(split.seen),
        held_out=run_data.held_out and run_data.held_out.with_labels(split.seen),
        evaluation=with_unseen.with_labels(split.seen),
        split=split,
        with_unseen=with_unseen,
    )


def _read_images(data: DataArguments, seed: int, listings: RunListings | None) -> RunData:
    """The images with all labels of the data set."""
    all_training, training, held_out = _read_training_images(data, seed, listings.training if listings else None)
    if held_out and data.eval_split == HELD_OUT:
        return RunData(all_training, training, None, held_out)
    evaluation = load_evaluation_images(data, seed, listings.evaluation if listings else None)
    if data.unseen_labels is None:
        names = all_training.label_names
        if strange := [name for name in evaluation.label_names if name not in set(names)]:
            raise InputError(
                f"labels of split {evaluation.split!r} that {all_training.split!r} does not have: {some(strange)}. "
                "Rename them, or give all label names in --labels_file; with shards, to sct-hf shard"
            )
        evaluation = evaluation.aligned_to(names)
    return RunData(all_training, training, held_out, evaluation)


def _read_training_images(
    data: DataArguments, seed: int, listing: Listing | StreamedImages | None
) -> tuple[TrainingImages, TrainingImages, LabelledImages | None]:
    """`all_training`, `training` and `held_out` of `RunData`, with all labels of the data set."""
    if listing is None:
        problems = Problems()
        names = None if data.labels_file is None else list(read_label_names(data.labels_file))
        listing = stream_training(data, names, problems)
        problems.raise_if_any()
    if isinstance(listing, StreamedImages):
        return _parted(listing, data, seed)
    listing = listing or _list(data, "train", size=data.train_size or None)

    def read(difficult_unknown: bool) -> LabelledImages:
        images = _images(data, listing, data.train_split, difficult_unknown=difficult_unknown)
        return images if data.draw_from_rest else draw(images)

    def draw(images: LabelledImages) -> LabelledImages:
        return images.subset(data.max_train_samples or None, seed)

    holdout_seed = seed if data.holdout_seed is None else data.holdout_seed
    all_training = read(data.difficult_in_training == "ignore")
    training, held_out = all_training, None
    if data.holdout:
        training, held_out = all_training.holdout(data.holdout, holdout_seed, stratified=data.holdout_stratified)
        if any(record.difficult for record in listing.records):
            judged = read(True)
            held_out = judged.holdout(data.holdout, holdout_seed, stratified=data.holdout_stratified)[1]
    if data.draw_from_rest:
        training = draw(training)
    return all_training, training, held_out


def _parted(
    images: StreamedImages, data: DataArguments, seed: int
) -> tuple[StreamedImages, StreamedImages, LabelledImages | None]:
    """As `_read_training_images`, with whole shards held out, whose images are listed."""
    for name in ("max_train_samples", "holdout_stratified"):
        if value := getattr(data, name):
            listed(images, f"{name} is {value}")
    if not data.holdout:
        return images, images, None
    rest, out = images.index.holdout(data.holdout, seed if data.holdout_seed is None else data.holdout_seed)
    split = f"{images.split}[holdout]"
    held_out = labelled_images(listing_of(out), out.label_names, name=images.name, split=split)
    return images, replace(images, index=rest, split=f"{images.split}[rest]"), held_out


def _list(data: EvaluationDataArguments, part: Part, **options: Any) -> Listing:
    names = None if data.labels_file is None else list(read_label_names(data.labels_file))
    problems = Problems()
    listing = list_split(data, part, names, problems, **options)
    if names is not None:
        check_names(listing, names, problems)
    problems.raise_if_any()
    return examine(listing)


def _images(data: EvaluationDataArguments, listing: Listing, split: str, *, difficult_unknown: bool) -> LabelledImages:
    names = listing.found_names() if data.labels_file is None else list(read_label_names(data.labels_file))
    return labelled_images(
        listing,
        names,
        name=data.dataset,
        split=split,
        difficult_unknown=difficult_unknown,
        skip_missing_images=data.skip_missing_images,
    )
