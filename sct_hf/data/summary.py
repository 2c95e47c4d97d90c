"""What a data set holds: counts of labels, and which are seen together."""

from dataclasses import dataclass

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.data.co_occurrence import seen_together
from sct_hf.escaping import in_line, in_lines

_PAIRS_SHOWN = 10


@dataclass(frozen=True)
class Summary:
    """Counts of one split.

    Attributes:
        name: Name of the data set and the split.
        label_names: The C labels.
        images: Number of images.
        positives: (C,) int64, images that show each label.
        unknown: (C,) int64, images in which nobody judged it.
        per_image: (K,) int64, images with 0, 1, … labels.
        together: (C, C) int64, images that show both of two labels; the diagonal is `positives`.
        skipped: Listed images left out because their file is missing or broken.
    """

    name: str
    label_names: list[str]
    images: int
    positives: np.ndarray
    unknown: np.ndarray
    per_image: np.ndarray
    together: np.ndarray
    skipped: int

    def pairs(self) -> list[tuple[str, str, int]]:
        """Pairs of labels by falling number of images that show both, without those that none shows."""
        rows, columns = np.triu_indices(len(self.label_names), k=1)
        counts = self.together[rows, columns]
        order = np.argsort(-counts, kind="stable")
        names = self.label_names
        return [
            (names[rows[place]], names[columns[place]], int(counts[place])) for place in order if counts[place] > 0
        ]


def summarise(images: LabelledImages) -> Summary:
    """Count the labels of a split; nothing is decoded."""
    targets = images.targets()  # (N, C)
    shown = (targets == 1).astype(np.int64)
    return Summary(
        f"{images.name} {images.split}",
        images.label_names,
        len(images),
        shown.sum(axis=0),
        (targets == -1).sum(axis=0),
        np.bincount(shown.sum(axis=1)),
        seen_together(targets),
        len(images.skipped),
    )


def format_summary(summary: Summary, notes: list[str] | None = None) -> str:
    """Write a summary as a few lines and a table: labels by falling number of positives, and the commonest pairs.

    Args:
        summary: Of one split.
        notes: What its reader noted.
    """
    names, positives, unknown = [*map(in_line, summary.label_names)], summary.positives, summary.unknown
    shares = [f"{count} with {number}" for number, count in enumerate(summary.per_image.tolist()) if count]
    skipped = f", {summary.skipped} more left out" if summary.skipped else ""
    lines = [
        f"{summary.name}: {summary.images} images{skipped}, {len(names)} labels, "
        f"{positives.sum() / summary.images:.2f} an image ({', '.join(shares)})",
        *(f"note: {note}" for note in notes or []),
    ]
    width = max(map(len, names))
    for column in np.argsort(-positives, kind="stable").tolist():
        judged = f"  {unknown[column]:6d} unknown" if unknown.any() else ""
        share = 100 * positives[column] / summary.images
        lines.append(f"  {names[column]:<{width}}  {positives[column]:6d}  {share:5.1f} %{judged}")
    pairs = [f"{one} + {other} {count}" for one, other, count in summary.pairs()[:_PAIRS_SHOWN]]
    lines.append(f"  most often together: {', '.join(pairs) or 'no two labels'}")
    return in_lines("\n".join(lines))
