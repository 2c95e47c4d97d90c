"""The page of an audit: suspects with heatmaps and the images that disagree, and images that show nearly the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sct_hf.curation.suspect_list import Suspect, SuspectList
from sct_hf.data import LabelledImages
from sct_hf.inference.tagger import Tagger
from sct_hf.model.image_processing_sct import heatmap_overlay, to_rgb
from sct_hf.pages import Card, Column, Figure, Picture, Table, Tag, data_uri, write_page

_SIDE, _SMALL = 320, 160  # pixels of an image, and of the images beside it
_PAIRS = 50  # most pairs of near images on the page

Heatmap = Callable[[Image.Image, str], Image.Image | None]


@dataclass(frozen=True)
class AuditPage:
    """What the page shows.

    Attributes:
        images: The audited images.
        found: What the audit found.
        shown: Most suspects with pictures.
        heatmap: Draws the map of a label on an image; None for a model without maps.
    """

    images: LabelledImages
    found: SuspectList
    shown: int
    heatmap: Heatmap

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            OSError: The file cannot be written.
        """
        title = f"Suspect labels: {self.images.name} {self.images.split}"
        content = {
            "figures": self._figures(),
            "cards": [self._card(rank, each) for rank, each in enumerate(self.found.suspects[: self.shown], start=1)],
            "listed": len(self.found.suspects),
            "labels": self._labels(),
            "pairs": self._pairs(),
            "pair_count": len(self.found.pairs),
        }
        write_page(path, Path(__file__).with_name("audit.html"), title, content)

    def _figures(self) -> list[Figure]:
        noise, known = self.found.noise, int((self.images.marks >= 0).sum())
        return [
            Figure("images", f"{len(self.images):,}", f"{known:,} labels judged"),
            Figure("probably wrong", f"{self.found.expected:,.0f}", "expected number"),
            Figure("missing", f"{noise.missing:.2%}", "of the labels that are there"),
            Figure("wrong", f"{noise.spurious:.3%}", "of the labels that are not there"),
            Figure("near-duplicates", f"{len(self.found.pairs):,}", "pairs of images"),
        ]

    def _card(self, rank: int, suspect: Suspect) -> Card:
        images, name = self.images, self.images.label_names[suspect.label]
        image = to_rgb(images.image(suspect.row))
        drawn = self.heatmap(image, name)
        witnesses = [
            Picture(data_uri(images.image(row), _SMALL), f"{'without' if suspect.given else 'with'} {name}: "
                    f"{images.image_ids[row]}")
            for row in suspect.witnesses
        ]  # fmt: skip
        others = [
            Tag(images.label_names[label]) for label in np.flatnonzero(images.marks[suspect.row] == 1)
            if label != suspect.label
        ]  # fmt: skip
        mark = Tag(name, f"{suspect.score:.0%}", "wrong" if suspect.given else "missed")
        return Card(
            f"{rank}. {images.image_ids[suspect.row]}",
            [
                Picture(data_uri(image, _SIDE), f"{images.image_ids[suspect.row]}"),
                *([Picture(data_uri(drawn, _SIDE), f"where the model sees {name}")] if drawn else []),
                *witnesses,
            ],
            [mark, *others],
            reasons(suspect, images),
        )

    def _labels(self) -> Table:
        marks, wrong = self.images.marks, self.found.wrong
        columns = [
            Column("label"),
            Column("given", "count", help="images that have it"),
            Column("expected missing", "number", help="sum of the probabilities that it is there but not given"),
            Column("expected wrong", "number", help="sum of the probabilities that it is given but not there"),
        ]
        rows = [
            [name, int((marks[:, label] == 1).sum()), *(
                float(wrong[marks[:, label] == value, label].sum()) for value in (0, 1)
            )]
            for label, name in enumerate(self.images.label_names)
        ]  # fmt: skip
        return Table(columns, rows)

    def _pairs(self) -> Table:
        images = self.images
        columns = [Column("image"), Column("other image"), Column("", "picture"), Column("similarity", "number", 3)]
        rows = [
            [
                images.image_ids[pair.first],
                images.image_ids[pair.second],
                [
                    Picture(data_uri(images.image(row), _SMALL), images.image_ids[row])
                    for row in (pair.first, pair.second)
                ],
                float(pair.similarity),
                ", ".join(differing(images, pair.first, pair.second)) or None,
            ]
            for pair in self.found.pairs[:_PAIRS]
        ]
        return Table([*columns, Column("labels that differ")], rows)


def differing(images: LabelledImages, first: int, second: int) -> list[str]:
    """Names of the labels that one of two images has, and the other has not."""
    both = images.marks[[first, second]]
    return [images.label_names[label] for label in np.flatnonzero((both >= 0).all(0) & (both[0] != both[1]))]


def reasons(suspect: Suspect, images: LabelledImages) -> Sequence[str]:
    """Why a label is suspect, in words."""
    name = images.label_names[suspect.label]
    said = f"{'given' if suspect.given else 'not given'}; a model that did not see the image says {suspect.there:.0%}"
    lines = [f"{name}: {said}"]
    if suspect.judged:
        has = "do not have it" if suspect.given else "have it"
        lines.append(f"{suspect.agreeing} of the {suspect.judged} nearest images {has}")
    if suspect.twin is not None:
        has = "does not have it" if suspect.given else "has it"
        lines.append(f"{images.image_ids[suspect.twin]} shows nearly the same, and {has}")
    return lines


def heatmaps_of(tagger: Tagger) -> Heatmap:
    """A function that draws a label's map, by a checkpoint; it returns None for models without maps."""
    if not tagger.pipeline.gives_maps:
        return lambda image, label: None

    def draw(image: Image.Image, label: str) -> Image.Image | None:
        tags: Any = tagger.pipeline(image, threshold=0.0, maps=True)
        weights = next((tag["map"] for tag in tags if tag["label"] == label), None)
        return None if weights is None else heatmap_overlay(image, weights)

    return draw
