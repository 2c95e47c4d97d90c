"""Apply the decisions about suspect labels to a table of labels."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sct_hf.cli._parser import CommandParser
from sct_hf.curation.relabel import TABLE_OF_RUN, relabel_run, relabel_table
from sct_hf.data.cells import SEPARATORS
from sct_hf.data.registry import Request
from sct_hf.errors import InputError
from sct_hf.escaping import in_line

EXTRAS = {"": "train"}


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf relabel",
        description="Apply the column decision of an audit: yes changes a label, no, unsure and nothing leave it. "
        "sct-hf relabel labels.csv RUN/audit/audit.csv",
    )
    made.add_argument(
        "table",
        type=Path,
        help="the .csv or .jsonl table that the run was trained on, which is changed and kept as .bak; or the folder "
        f"of the run, whose labels are written as {TABLE_OF_RUN} beside the audit",
    )
    made.add_argument("audit", type=Path, help="audit.csv with decisions")
    made.add_argument("--image_column", help="column of the paths in the table, as in training")
    made.add_argument("--label_column", help="column of the labels in the table, as in training")
    made.add_argument("--separator", choices=list(SEPARATORS), help="between labels in a cell, as in training")
    return made


def main(argv: Sequence[str]) -> int:
    """Apply the decisions, print what changed, and return the exit code 0.

    Raises:
        InputError: An option, the table or the decisions cannot be used.
    """
    options = parser().parse_args(argv)
    columns = {name: getattr(options, name) for name in ("image_column", "label_column", "separator")}
    if not options.table.is_dir():
        done = relabel_table(options.table, options.audit, Request("table", "all", **columns))
    elif given := [name for name, value in columns.items() if value is not None]:
        raise InputError(f"{given[0]} is for a table, and {str(options.table)!r} is a folder: leave it out")
    else:
        done = relabel_run(options.table, options.audit)
    for line in done.lines():
        print(in_line(line))
    return 0
