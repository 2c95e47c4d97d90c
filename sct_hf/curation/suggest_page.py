"""The page of suggestions: images to label next, and groups of images that the known labels do not cover."""

from collections.abc import Sequence
from pathlib import Path

from sct_hf.curation.clusters import Cluster
from sct_hf.curation.suggest import Suggestion, Suggestions
from sct_hf.inference.files import common_folder, path_below
from sct_hf.pages import Card, Column, Figure, Picture, Table, Tag, data_uri, write_page

_SIDE, _SMALL = 240, 160  # pixels of an image to label, and of one in a group
_SHOWN, _IN_GROUP = 200, 6
_MOST_BYTES = 8_000_000  # of all pictures


class _Pictures:
    """Pictures of one page, as many as it may hold."""

    def __init__(self, found: Suggestions) -> None:
        self._paths = found.images.paths
        self._root = common_folder(self._paths)
        self._left = _MOST_BYTES

    def name(self, row: int) -> str:
        return path_below(self._paths[row], self._root).as_posix()

    def of(self, row: int, side: int, caption: str = "") -> list[Picture]:
        """The picture of an image; none if the page is full, or the file is gone."""
        try:
            uri = data_uri(self._paths[row], side)
        except (OSError, ValueError):
            return []
        self._left -= len(uri)
        return [Picture(uri, caption)] if self._left > 0 else []


def write_page_of(found: Suggestions, path: Path, source: str) -> None:
    """Write the page. It shows at most 200 images to label, and holds less than 10 MB.

    Args:
        found: The suggestions.
        path: The file to write.
        source: Name of the checkpoint.

    Raises:
        OSError: The file cannot be written.
    """
    pictures = _Pictures(found)
    clusters = [_cluster(each, found, pictures) for each in found.clusters]  # first: they are few
    content = {
        "figures": _figures(found),
        "clusters": clusters,
        "note": found.note,
        "labels": _labels(found),
        "cards": [_card(rank, one, pictures) for rank, one in enumerate(found.chosen[:_SHOWN], start=1)],
        "chosen": len(found.chosen),
    }
    write_page(path, Path(__file__).with_name("suggest.html"), f"What to label next: {source}", content)


def _figures(found: Suggestions) -> list[Figure]:
    bare = sum(not tags for tags in found.tags)
    unread = len(found.images.unread)
    return [
        Figure("images", f"{len(found.tags):,}", f"{unread:,} more could not be read" if unread else ""),
        Figure("to label next", f"{len(found.chosen):,}"),
        Figure("without a known label", f"{bare / len(found.tags):.1%}", f"{bare:,} images"),
        Figure("groups of these", f"{len(found.clusters):,}"),
    ]


def _cluster(cluster: Cluster, found: Suggestions, pictures: _Pictures) -> Card:
    shown = [picture for row in cluster.rows[:_IN_GROUP] for picture in pictures.of(row, _SMALL, pictures.name(row))]
    known = [word for word in cluster.words if word in found.label_names]
    notes = [f"{len(cluster.rows):,} images"]
    if known:
        notes.append(f"{known[0]} is a known label, which the model did not find here")
    return Card(", ".join(cluster.words) or "no words", shown, (), notes)


def _card(rank: int, one: Suggestion, pictures: _Pictures) -> Card:
    tags = [Tag(name, f"{score:.0%}") for name, score in one.tags]
    return Card(f"{rank}. {pictures.name(one.row)}", pictures.of(one.row, _SIDE), tags, [one.reason])


def _labels(found: Suggestions) -> Table:
    columns: Sequence[Column] = [
        Column("label"),
        Column("images with the tag", "count"),
        Column("expected images", "number", help="sum of the scores over all images"),
        Column("tagged and chosen", "count", help="images with the tag among those to label next"),
    ]
    tagged = _counts(found.tags)
    chosen = _counts([one.tags for one in found.chosen])
    expected = found.images.scores.sum(0, dtype=float)  # (C,)
    rows = [
        [name, tagged.get(name, 0), float(expected[label]), chosen.get(name, 0)]
        for label, name in enumerate(found.label_names)
    ]
    return Table(columns, rows)


def _counts(tags: Sequence[Sequence[tuple[str, float]]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for found in tags:
        for name, _ in found:
            counts[name] = counts.get(name, 0) + 1
    return counts
