"""Suggestions for images without labels: their tags, which to label next, and what the labels do not cover."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sct_hf.curation.choose import choose, random_order, uncertain_order, unsure_labels
from sct_hf.curation.clusters import Cluster, unexplained
from sct_hf.curation.unlabelled import Unlabelled, read_unlabelled
from sct_hf.curation.vocabulary import word_classes
from sct_hf.errors import InputError
from sct_hf.inference.tagger import Tagger
from sct_hf.model.pipeline_sct import select_tags

By = Literal["random", "uncertain"]


@dataclass(frozen=True)
class Suggestion:
    """An image to label next.

    Attributes:
        row: Its row in the images.
        tags: Its tags by falling score.
        reason: Why it was chosen, in a few words.
    """

    row: int
    tags: list[tuple[str, float]]
    reason: str


@dataclass(frozen=True)
class Suggestions:
    """What to label next.

    Attributes:
        images: The images without labels.
        label_names: The known labels.
        tags: Tags of every image.
        chosen: The images to label, the first one first.
        clusters: Groups of images without tags.
        note: Why groups have no words; empty if they do.
    """

    images: Unlabelled
    label_names: list[str]
    tags: list[list[tuple[str, float]]]
    chosen: list[Suggestion]
    clusters: list[Cluster]
    note: str = ""


def suggest(
    tagger: Tagger,
    paths: Sequence[Path],
    *,
    count: int = 200,
    by: By = "random",
    words: Sequence[str] | None = None,
    profile: str | None = None,
    batch_size: int = 16,
    seed: int = 0,
) -> Suggestions:
    """Tag images without labels, choose which to label next, and group those in which no label was found.

    Args:
        tagger: A checkpoint of this package.
        paths: The images.
        count: Images to choose.
        by: "random", or "uncertain": those whose labels would tell most, see `uncertainty`.
        words: The user's vocabulary for groups; by default WordNet's nouns for ImageNet's classes.
        profile: Profile of the checkpoint's thresholds for tags; by default `balanced`, or the first by name.
        batch_size: Images per batch.
        seed: Seed of all draws.

    Raises:
        InputError: `count` is below 1, the checkpoint or `words` cannot be used, or no image can be read.
    """
    if count < 1:
        raise InputError(f"count is {count}: give a number of images from 1")
    try:
        thresholds = np.array(tagger.pipeline.thresholds(profile=profile), dtype=np.float32)
    except ValueError as error:
        raise InputError(str(error)) from error
    vocabulary, note = None, ""
    try:
        vocabulary = word_classes(tagger.model, words)
    except InputError as error:
        if words is not None:
            raise InputError(f"vocabulary: {error}") from error
        note = f"groups have no words: {error}"
    images = read_unlabelled(tagger, paths, batch_size)
    names = tagger.label_names
    tags = [
        [(names[label], float(scores[label])) for label in select_tags(scores, thresholds)] for scores in images.scores
    ]
    rows = np.array([row for row, found in enumerate(tags) if not found], dtype=np.int64)
    clusters = unexplained(images.embeddings, rows, vocabulary, seed)
    uncertain = by == "uncertain"
    order = uncertain_order(images.scores) if uncertain else random_order(len(tags), seed)
    chosen = [
        Suggestion(row, tags[row], _reason(images.scores[row], names, uncertain))
        for row in choose(order, images.embeddings, count)
    ]
    return Suggestions(images, names, tags, chosen, clusters, note)


def _reason(scores: np.ndarray, label_names: list[str], uncertain: bool) -> str:
    unsure = unsure_labels(scores, label_names)
    if not uncertain:
        return "drawn at random"
    return f"unsure of {', '.join(unsure)}" if unsure else "surer than those before"
