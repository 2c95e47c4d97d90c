"""Decisions about suspect labels, applied to the user's table, or to a copy of a run's labels as a table."""

import difflib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sct_hf.curation.audit_table import Decision, Decisions, read_decisions
from sct_hf.curation.table_edit import RowChange, Table
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request
from sct_hf.data.shards.images import listed
from sct_hf.data.write_csv import write_csv
from sct_hf.files import atomic_write
from sct_hf.training.finished_run import arguments_of
from sct_hf.training.run_data import load_run_data

TABLE_OF_RUN = "relabelled.csv"
"""The table that is written, beside the decisions, for labels that are in no table."""


@dataclass(frozen=True)
class Relabelled:
    """What was changed.

    Attributes:
        path: The table that has the labels now.
        backup: The table as it was; None if nothing was changed, or there was none.
        changes: The labels that changed.
        already: Number of decisions that the table had already.
        decisions: All decisions.
        emptied: Images that have no label any more.
    """

    path: Path
    backup: Path | None
    changes: list[Decision]
    already: int
    decisions: Decisions
    emptied: list[str]

    def lines(self, most: int = 20) -> list[str]:
        """What was changed, in lines of text.

        Args:
            most: Most labels to name.
        """
        images = len({change.image for change in self.changes})
        added = sum(change.present for change in self.changes)
        named = [f"{each.image}: {'+' if each.present else '−'} {each.label}" for each in self.changes[:most]]
        more = [f"… and {len(self.changes) - most} more"] if len(self.changes) > most else []
        bare = [
            f"{_count(len(self.emptied), 'image')} without a label now: {', '.join(self.emptied[:most])}; training "
            "refuses them, unless --allow_unlabelled true"
        ]
        backup = f"; as it was: {self.backup}" if self.backup else ""
        return [
            *named,
            *more,
            f"{self.path}: {_count(len(self.changes), 'label')} of {_count(images, 'image')} changed, {added} added "
            f"and {len(self.changes) - added} taken out{backup}",
            f"{self.already} were so already; {self.decisions.kept} kept, {self.decisions.unsure} unsure, "
            f"{self.decisions.open} not decided",
            *(bare if self.emptied else []),
        ]


def relabel_table(path: Path, audit: Path, request: Request) -> Relabelled:
    """Apply decisions to a table. Other cells, their order and their quotes stay as they are.

    Args:
        path: The table, .csv or .jsonl, that the audited run was trained on.
        audit: `audit.csv` with decisions.
        request: The table's columns and separator.

    Raises:
        InputError: A file cannot be read, an image or a label is not in the table, or it cannot express the labels.
            The table is then unchanged.
        OSError: A file cannot be written.
    """
    decisions, table = read_decisions(audit), Table.read(path, request)
    row_of = {record.image: row for row, record in enumerate(table.records)}
    _require_images(decisions.changes, row_of, audit, str(path))
    added = [decision for decision in decisions.changes if decision.present]  # others may be taken out already
    _require_labels(added, table.label_names, audit, str(path))
    changes, changed = dict[int, RowChange](), []
    for decision in decisions.changes:
        record = table.records[row_of[decision.image]]
        present = decision.label in record.labels
        if present == decision.present and (present or decision.label not in record.unknown):
            continue
        change = changes.setdefault(row_of[decision.image], RowChange())
        (change.present if decision.present else change.absent).append(decision.label)
        changed.append(decision)
    backup, emptied = None, []
    for row, change in changes.items():
        if not {*table.records[row].labels, *change.present} - {*change.absent}:
            emptied.append(table.records[row].image)
    if changes:
        text = table.changed(changes)

        def write(temporary: Path) -> None:
            temporary.write_bytes(text.encode("utf-8"))
            table.require_as_meant(temporary, changes)

        backup = _replace(path.resolve(), write)
    return Relabelled(path, backup, changed, len(decisions.changes) - len(changed), decisions, emptied)


def relabel_run(run: Path, audit: Path) -> Relabelled:
    """Write the labels of a run's images, with the decisions applied, as `relabelled.csv` beside them.

    Args:
        run: Folder of the audited run.
        audit: `audit.csv` with decisions.

    Raises:
        InputError: A file cannot be read, an image or label is none of the run, or an image is no file.
        OSError: The table cannot be written.
    """
    decisions = read_decisions(audit)
    arguments = arguments_of(run)
    images = listed(load_run_data(arguments.data, arguments.train.seed).all_training, "relabelling")
    row_of = {image_id: row for row, image_id in enumerate(images.image_ids)}
    column_of = {name: column for column, name in enumerate(images.label_names)}
    _require_images(decisions.changes, row_of, audit, f"the run in {run}")
    _require_labels(decisions.changes, column_of, audit, f"the run in {run}")
    marks, changed = images.targets(), []
    for decision in decisions.changes:
        place = row_of[decision.image], column_of[decision.label]
        if marks[place] != decision.present:
            marks[place] = decision.present
            changed.append(decision)
    path = audit.parent / TABLE_OF_RUN
    backup = _replace(path, lambda temporary: write_csv(images.with_marks(marks, images.label_names), temporary))
    rows = dict.fromkeys(row_of[decision.image] for decision in changed)
    emptied = [images.image_ids[row] for row in rows if not (marks[row] == 1).any()]
    return Relabelled(path, backup, changed, len(decisions.changes) - len(changed), decisions, emptied)


def _require_images(changes: Iterable[Decision], known: Iterable[str], audit: Path, where: str) -> None:
    known, problems = set(known), Problems()
    for change in changes:
        if change.image not in known:
            text = f"image {change.image!r} is not in {where}"
            problems.add("unknown image", f"{audit}, line {change.line}", text, "give what the audited run read")
    problems.raise_if_any()


def _require_labels(changes: Iterable[Decision], known: Iterable[str], audit: Path, where: str) -> None:
    known, problems = set(known), Problems()
    for change in changes:
        if change.label not in known:
            near = difflib.get_close_matches(change.label, sorted(known), n=1)
            remedy = f"write {near[0]!r}" if near else "give the audit of these labels"
            problems.add(
                "unknown label", f"{audit}, line {change.line}", f"label {change.label!r} is not in {where}", remedy
            )
    problems.raise_if_any()


def _replace(path: Path, write: Callable[[Path], None]) -> Path | None:
    """Write a file anew, and keep what was there; return where, or None if there was nothing, or nothing changed."""
    backup = None
    with atomic_write(path) as temporary:
        write(temporary)
        if path.exists() and path.read_bytes() != temporary.read_bytes():
            backup = _free(path)
            with atomic_write(backup) as copy:
                shutil.copyfile(path, copy)
    return backup


def _free(path: Path) -> Path:
    """A name for the old file that no file has; its ending is not that of a table, so no folder has two tables."""
    names = (path.with_name(f"{path.name}.bak{number or ''}") for number in range(1_000_000))
    return next(name for name in names if not name.exists())


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
