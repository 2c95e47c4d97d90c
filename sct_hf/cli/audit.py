"""Look for wrong and missing labels in the images of a training run."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from sct_hf.cli._parser import CommandParser
from sct_hf.curation.audit import MOST, SHOWN, audit
from sct_hf.errors import InputError
from sct_hf.training.folds import FOLDS

EXTRAS = {"": "train"}


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf audit",
        description="Rank the labels of a training run's images by how probably they are wrong: sct-hf audit RUN",
    )
    made.add_argument("run", type=Path, help="folder of a finished run with --cache_features")
    made.add_argument("--output_dir", type=Path, help="folder for the table, the page and the tasks (RUN/audit)")
    made.add_argument(
        "--folds",
        type=int,
        default=FOLDS,
        help="parts to train without in turn, unless the run was scored (%(default)s)",
    )
    made.add_argument("--most", type=int, default=MOST, help="most suspects in the table (%(default)s)")
    made.add_argument("--shown", type=int, default=SHOWN, help="most of them with pictures on the page (%(default)s)")
    return made


def main(argv: Sequence[str]) -> int:
    """Audit the run, and return the exit code 0.

    Raises:
        InputError: An option or the run cannot be used.
    """
    options = parser().parse_args(argv)
    for name, most in (("most", 100_000), ("shown", 100)):
        if not 1 <= (value := getattr(options, name)) <= most:
            raise InputError(f"{name} is {value}: give a whole number from 1 to {most}")
    logging.disable_progress_bar()
    output = options.output_dir or options.run / "audit"
    audit(options.run, output, folds=options.folds, most=options.most, shown=options.shown)
    return 0
