"""Two runs or evaluations of the same images, side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.files import images_below
from sct_hf.metrics.paired_bootstrap import RESAMPLES, Interval, paired_bootstrap
from sct_hf.pages import Card, Column, Mark, Picture, Table, Tag, data_uri, write_page
from sct_hf.training.report import Predictions, aligned, percent
from sct_hf.training.report_images import entry_losses
from sct_hf.training.run_files import RunFile
from sct_hf.training.saved_scores import read_predictions

FIGURES = {
    "mAP": "mean of the labels' average precision",
    "OF1": "F1 of all decisions together, at 0.5",
    "CF1": "F1 of the mean precision and recall of labels, at 0.5",
    "OP": "precision of all decisions together, at 0.5",
    "OR": "recall of all decisions together, at 0.5",
    "exact_match": "images with all labels right, at 0.5",
    "Brier": "mean squared error of the scores; less is better",
}
_LABELS = 2000  # rows of the table
_IMAGES = 8  # shown for each of the two
_TAGS = 12


class Comparison(NamedTuple):
    """Two sets of scores of the same images and labels.

    Attributes:
        titles: What the two are called: their folders.
        one, two: Their predictions, in one order of images and labels.
        figures: The intervals of `paired_bootstrap` by figure.
        by_label: Those of each label's AP.
    """

    titles: tuple[str, str]
    one: Predictions
    two: Predictions
    figures: dict[str, Interval]
    by_label: list[Interval]


def compare(first: Path, second: Path, *, seed: int = 0) -> Comparison:
    """Compare the saved scores of two folders.

    Args:
        first: Output folder of `sct-hf train` or `sct-hf evaluate`.
        second: Another one, of the same images and labels in any order.
        seed: Seed of the bootstrap.

    Raises:
        InputError: A folder has no scores, or the two differ in labels, images or targets.
    """
    one, two = read_predictions(first), read_predictions(second)
    where = f"{str(first)!r} and {str(second)!r}"
    remedy = "evaluate both on the same data with sct-hf evaluate"
    columns = _places("labels", one.label_names, two.label_names, where, remedy)
    rows = _places("images", one.image_ids, two.image_ids, where, remedy)
    two = Predictions(
        one.image_ids,
        two.scores[np.ix_(rows, columns)],
        two.targets[np.ix_(rows, columns)],
        one.label_names,
        contents=two.contents and [two.contents[row] for row in rows],
    )
    if one.contents and two.contents and (one.contents != two.contents):
        pairs = zip(one.image_ids, one.contents, two.contents, strict=True)
        other = [image_id for image_id, content, own in pairs if content != own]
        raise InputError(
            f"{len(other)} images of {where} have one name and other content, first {other[0]!r}: {remedy}"
        )
    if (differing := np.argwhere(one.targets != two.targets)).size:
        row, column = differing[0]
        raise InputError(
            f"{where} have other labels for {len(np.unique(differing[:, 0]))} images, first "
            f"{one.label_names[column]!r} of {one.image_ids[row]!r}: {remedy}"
        )
    figures, by_label = paired_bootstrap(one.scores, two.scores, one.targets, seed=seed)
    return Comparison((str(first), str(second)), one, two, figures, by_label)


def _places(what: str, one: Sequence[str], two: Sequence[str], where: str, remedy: str) -> list[int]:
    """Where the second has the names of the first."""
    place = {name: number for number, name in enumerate(two)}
    known = set(one)
    lacking = [name for name in one if name not in place]
    added = [name for name in two if name not in known]
    if lacking or added:
        parts = [
            f"{len(names)} only in the {which}, such as {names[0]!r}"
            for which, names in (("first", lacking), ("second", added))
            if names
        ]
        raise InputError(f"{where} have other {what}: {'; '.join(parts)}; {remedy}")
    return [place[name] for name in one]


def format_comparison(found: Comparison) -> str:
    """The figures as text, in percent and percentage points."""
    rows = [
        {
            "": name,
            "first": percent(interval.one),
            "second": percent(interval.two),
            "difference": _points(interval.difference),
            "95 % interval": f"{_points(interval.low)} to {_points(interval.high)}",
            " ": _verdict(interval, name),
        }
        for name, interval in found.figures.items()
    ]
    heads = [
        in_line(f"{place}  {title}  {_facts(Path(title))}".rstrip())
        for place, title in zip(("first ", "second"), found.titles, strict=True)
    ]
    images, labels = found.one.scores.shape
    note = f"{images} images, {labels} labels; paired bootstrap of the images, {RESAMPLES} draws; percent"
    return "\n".join([*heads, "", aligned(pd.DataFrame(rows)), "", note])


def _points(value: float | None) -> str:
    return Column("", "difference", digits=2).text(value)


def _verdict(interval: Interval, name: str = "AP") -> str:
    """What the second is, if the interval leaves out 0."""
    if interval.low is None or interval.high is None or interval.low <= 0 <= interval.high:
        return ""
    return "better" if (interval.low > 0) == (name != "Brier") else "worse"


def write_comparison(found: Comparison, path: Path, image_dir: Path | None = None) -> None:
    """Write the page of a comparison.

    Args:
        found: The comparison.
        path: The HTML file.
        image_dir: Folder of the images, found by their names, for pictures; None for none.

    Raises:
        InputError: `image_dir` is no folder.
        OSError: The page cannot be written.
    """
    one, two = (entry_losses(each.scores, each.targets) for each in (found.one, found.two))  # (N, C)
    gained = (one - two).sum(axis=1)  # (N,)
    order = np.argsort(gained, kind="stable")
    half = max(1, min(_IMAGES, len(order) // 2))
    pictures = _pictures(found.one.image_ids, image_dir)
    better = [row for row in order[::-1][:half].tolist() if gained[row] > 0]
    worse = [row for row in order[:half].tolist() if gained[row] < 0]
    content = {
        "titles": [Path(title).name or title for title in found.titles],
        "folders": found.titles,
        "facts": [_facts(Path(title)) for title in found.titles],
        "images": len(order),
        "labels": len(found.one.label_names),
        "resamples": RESAMPLES,
        "figures": _figure_table(found),
        "by_label": _label_table(found),
        "shown": [("second", _cards(found, better, pictures)), ("first", _cards(found, worse, pictures))],
    }
    write_page(path, Path(__file__).with_name("compare_page.html"), "Comparison of two models", content)


def _facts(folder: Path) -> str:
    """What the folder says of its model, in a line."""
    try:
        metrics = json.loads((folder / RunFile.METRICS).read_text(encoding="utf-8"))
        told = [f"{name} {metrics[name]}" for name in ("model", "head", "dataset", "split") if name in metrics]
        if fitted := metrics.get("scored_in_calibration"):
            told.append(f"{fitted} of these images set its calibration")
        told += ["calibrated" if "before" in metrics["calibration"] else "not calibrated"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""
    return ", ".join(told)


def _figure_table(found: Comparison) -> Table:
    rows = [
        [name, FIGURES[name], each.one, each.two, each.difference, each.low, each.high, _verdict(each, name)]
        for name, each in found.figures.items()
    ]
    return Table([Column("figure"), Column("meaning"), *_columns(2), Column("")], rows)


def _columns(digits: int) -> list[Column]:
    return [
        Column("first", "percent", digits),
        Column("second", "percent", digits),
        Column("difference", "difference", digits, "Second less first, in percentage points"),
        Column("from", "difference", digits, "Lower end of the 95 % interval"),
        Column("to", "difference", digits, "Upper end of the 95 % interval"),
    ]


def _label_table(found: Comparison) -> Table:
    positives = (found.one.targets == 1).sum(axis=0)
    kept = np.argsort(-positives, kind="stable")[:_LABELS].tolist()
    rows = []
    for label in sorted(kept):
        each = found.by_label[label]
        shown = (each.one, each.two, each.difference, each.low, each.high, _verdict(each))
        rows.append([found.one.label_names[label], positives[label], *shown])
    caption = f"The {_LABELS:,} labels with the most images." if len(positives) > _LABELS else ""
    return Table([Column("label"), Column("images", "count"), *_columns(1), Column("")], rows, caption)


def _pictures(ids: Sequence[str], folder: Path | None) -> Mapping[str, Path]:
    """Files of images by id: a path below the folder, a file's name, or its name without the ending; if only one."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise InputError(f"image_dir is {str(folder)!r}, which is no folder: give that of the images, or leave it out")
    found: dict[str, list[Path]] = {}
    for path in images_below(folder):
        for key in {path.relative_to(folder).as_posix(), path.name, path.stem}:
            found.setdefault(key, []).append(path)
    return {image_id: found[image_id][0] for image_id in ids if len(found.get(image_id, ())) == 1}


def _cards(found: Comparison, rows: Sequence[int], pictures: Mapping[str, Path]) -> list[Card]:
    cards = []
    for row in rows:
        image_id = found.one.image_ids[row]
        shown = []
        if path := pictures.get(image_id):
            try:
                shown = [Picture(data_uri(path), image_id)]
            except (OSError, ValueError):
                shown = []
        cards.append(Card(image_id, shown, _tags(found, row)))
    return cards


def _tags(found: Comparison, row: int) -> list[Tag]:
    """The labels whose scores differ most in an image; the colour says whether the second is nearer to the truth."""
    one, two, targets = found.one.scores[row], found.two.scores[row], found.one.targets[row]
    order = np.argsort(-np.abs(two - one), kind="stable")[:_TAGS]
    tags = []
    for label in (each for each in order.tolist() if abs(two[each] - one[each]) >= 0.1):
        nearer: Mark = "right" if (two[label] > one[label]) == (targets[label] == 1) else "wrong"
        there = {1: "there", 0: "absent"}.get(int(targets[label]), "unknown")
        mark: Mark = "plain" if there == "unknown" else nearer
        tags.append(Tag(found.one.label_names[label], f"{one[label]:.2f} → {two[label]:.2f}, {there}", mark))
    return tags
