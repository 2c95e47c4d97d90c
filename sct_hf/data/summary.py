"""Summary of a data set: counts of labels, and labels that occur together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sct_hf.data.base import LabelledImages
from sct_hf.data.co_occurrence import seen_together
from sct_hf.escaping import in_line, in_lines
from sct_hf.name_lists import FEW, PRINTED, some

_PAIRS_SHOWN = 10
_PAIRED = 1000  # labels of which pairs are counted: their number grows with the square


@dataclass(frozen=True)
class Summary:
    """Counts of one split.

    Attributes:
        name: Name of the data set and the split.
        label_names: The C labels.
        images: Number of images.
        positives: (C,) int64, images that show each label.
        unknown: (C,) int64, images for which each label is unknown.
        per_image: (K,) int64, images with 0, 1, … labels.
        paired: (K,) int64, columns of the K = min(C, 1000) labels with the most positives, increasing.
        together: (K, K) int64, images that show both of two `paired` labels; the diagonal is their `positives`.
        skipped: Number of skipped images, whose file is missing or broken.
    """

    name: str
    label_names: list[str]
    images: int
    positives: np.ndarray
    unknown: np.ndarray
    per_image: np.ndarray
    paired: np.ndarray
    together: np.ndarray
    skipped: int

    def pairs(self) -> list[tuple[str, str, int]]:
        """Pairs of `paired` labels that some image shows, by falling number of images."""
        rows, columns = np.triu_indices(len(self.paired), k=1)
        counts = self.together[rows, columns]
        order = np.argsort(-counts, kind="stable")
        names = [self.label_names[column] for column in self.paired]
        return [
            (names[rows[place]], names[columns[place]], int(counts[place])) for place in order if counts[place] > 0
        ]


def summarise(images: LabelledImages) -> Summary:
    """Count the labels of a split; nothing is decoded."""
    targets = images.targets()  # (N, C)
    shown = targets == 1
    positives, per_image = (shown.sum(axis=axis, dtype=np.int64) for axis in (0, 1))
    paired = np.sort(np.argsort(-positives, kind="stable")[:_PAIRED])
    return Summary(
        f"{images.name} {images.split}",
        images.label_names,
        len(images),
        positives,
        (targets == -1).sum(axis=0),
        np.bincount(per_image),
        paired,
        seen_together(targets[:, paired]),
        len(images.skipped),
    )


def format_summary(summary: Summary, notes: list[str] | None = None) -> str:
    """Format a summary as a few lines and a table: labels by falling number of positives, and the commonest pairs.

    Of more than `PRINTED` labels, the most frequent and the rarest that an image shows are in the table.

    Args:
        summary: The summary of one split.
        notes: The notes of its reader.
    """
    names, positives, unknown = summary.label_names, summary.positives, summary.unknown
    shares = [f"{count} with {number}" for number, count in enumerate(summary.per_image.tolist()) if count]
    skipped = f", {summary.skipped} more left out" if summary.skipped else ""
    lines = [
        f"{summary.name}: {summary.images} images{skipped}, {len(names)} labels, "
        f"{positives.sum() / summary.images:.2f} an image ({some(shares, FEW)})",
        *(f"note: {note}" for note in notes or []),
    ]
    order = np.argsort(-positives, kind="stable")
    shown = order[positives[order] > 0] if len(names) > PRINTED else order
    first, last = (shown[:FEW], shown[FEW:][-FEW:]) if len(shown) > PRINTED else (shown, shown[:0])
    width = max((len(in_line(names[column])) for column in (*first, *last)), default=0)

    def rows(columns: np.ndarray) -> Iterator[str]:
        for column in columns.tolist():
            judged = f"  {unknown[column]:6d} unknown" if unknown.any() else ""
            share = 100 * positives[column] / summary.images
            yield f"  {in_line(names[column]):<{width}}  {positives[column]:6d}  {share:5.1f} %{judged}"

    lines += rows(first)
    if between := len(shown) - len(first) - len(last):
        lines += [f"  … {between:,} more labels …", *rows(last)]
    if absent := [names[column] for column in order[len(shown) :]]:
        lines.append(f"  labels that no image shows: {len(absent):,}, {some([*map(in_line, absent)])}")
    pairs = [f"{one} + {other} {count}" for one, other, count in summary.pairs()[:_PAIRS_SHOWN]]
    of = "" if len(summary.paired) == len(names) else f", of the {len(summary.paired)} most frequent labels"
    lines.append(f"  most often together{of}: {', '.join(pairs) or 'no two labels'}")
    return in_lines("\n".join(lines))
