"""The images of a report: those that a model judges best and worst, with heatmaps."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import cast

import numpy as np
from transformers import PreTrainedModel

from sct_hf.data import LabelledImages
from sct_hf.factory import image_processor
from sct_hf.inference.scoring import score_images
from sct_hf.model.configuration_sct import BackboneConfig
from sct_hf.model.image_processing_sct import heatmap_overlay, to_rgb
from sct_hf.pages import Card, Mark, Picture, Tag, data_uri
from sct_hf.training.report import Predictions

_SIDE = 400  # pixels: 25 kB an image
_COUNT = 6  # images of each kind
_MAPS = 2  # heatmaps of an image
_TAGS = 12


def entry_losses(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The binary cross-entropy of each pair (N, C) float32, 0 where the target is unknown."""
    right = np.where(targets == 1, scores, 1 - scores)
    return np.where(targets >= 0, -np.log(np.clip(right, 1e-7, 1)), 0).astype(np.float32)


def best_and_worst(scores: np.ndarray, targets: np.ndarray, count: int = _COUNT) -> tuple[list[int], list[int]]:
    """Choose the images with the lowest and the highest loss, of different kinds.

    The best ones show a label and have different labels. The worst ones have a different largest error each, which is
    a label and whether it is there. No image is in both.

    Args:
        scores: (N, C) in [0, 1].
        targets: (N, C): 1 positive, 0 negative, −1 or NaN unknown.
        count: Most images of each kind; of few images, half are among the worst at most.

    Returns:
        Rows of the best images, the best first, and of the worst, the worst first.
    """
    losses = entry_losses(scores, targets)
    largest = losses.argmax(axis=1)  # (N,)
    order = np.argsort(losses.sum(axis=1), kind="stable")
    count = min(count, (len(order) + 1) // 2)
    worst = _different(order[::-1], lambda row: (largest[row], targets[row, largest[row]] == 1), count)
    good = (row for row in order if row not in worst and (targets[row] == 1).any())
    best = _different(good, lambda row: (targets[row] == 1).tobytes(), count)
    return best, worst


def _different(rows: Iterable[int], kind: Callable[[int], Hashable], count: int) -> list[int]:
    """The first rows of different kinds."""
    found: dict[Hashable, int] = {}
    for row in rows:
        if len(found) == count:
            break
        found.setdefault(kind(row), int(row))
    return list(found.values())


def image_cards(
    rows: Sequence[int],
    images: LabelledImages,
    predictions: Predictions,
    model: PreTrainedModel,
    thresholds: np.ndarray,
    *,
    by_loss: bool,
) -> list[Card]:
    """Show images with their tags and the heatmaps of two labels.

    Args:
        rows: Places of the images.
        images: All images.
        predictions: Their scores and targets, in the same order.
        model: The model.
        thresholds: (C,) scores from which labels count as predicted.
        by_loss: Whether the heatmaps are of the labels with the largest loss, or else those that are there,
            with the highest scores.
    """
    shown = [to_rgb(images.image(row)) for row in rows]
    processor = image_processor(cast(BackboneConfig, model.config))
    maps = score_images(model, processor, shown, maps=True)[1] if shown else None
    losses = entry_losses(predictions.scores, predictions.targets)
    cards = []
    for place, row in enumerate(rows):
        image = shown[place]
        image.thumbnail((_SIDE, _SIDE))
        scores, targets = predictions.scores[row], predictions.targets[row]
        pictures = [Picture(data_uri(image, _SIDE), "image")]
        if maps is not None:
            order = np.argsort(-(losses[row] if by_loss else np.where(targets == 1, scores, 0)), kind="stable")
            for label in order[: _MAPS if by_loss else min(_MAPS, int((targets == 1).sum()))].tolist():
                overlay = heatmap_overlay(image, maps[place, label])
                pictures.append(Picture(data_uri(overlay, _SIDE), f"heatmap of {predictions.label_names[label]}"))
        tags = _tags(scores, targets, predictions.label_names, thresholds)
        more = [f"and {len(tags) - _TAGS} more labels"] if len(tags) > _TAGS else []
        cards.append(Card(images.image_ids[row], pictures, tags[:_TAGS], more))
    return cards


def _tags(scores: np.ndarray, targets: np.ndarray, names: Sequence[str], thresholds: np.ndarray) -> list[Tag]:
    """What is there or predicted, by falling score."""
    predicted = scores >= thresholds
    told = np.flatnonzero(predicted | (targets == 1))
    tags = []
    for label in told[np.argsort(-scores[told], kind="stable")].tolist():
        there = targets[label]
        seen: Mark = "right" if there == 1 else "wrong" if there == 0 else "plain"
        mark: Mark = seen if predicted[label] else "missed"
        tags.append(Tag(names[label], f"{scores[label]:.2f}", mark))
    return tags
