"""Check labelled images before training."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sct_hf.cli._wording import in_options
from sct_hf.data import LabelledImages
from sct_hf.data.problems import DataError
from sct_hf.data.shards.images import StreamedImages
from sct_hf.data.summary import format_summary, summarise
from sct_hf.escaping import in_lines
from sct_hf.options import CheckedOptions, option
from sct_hf.training.arguments import DataArguments
from sct_hf.training.data_checks import check_run_data
from sct_hf.training.label_figure import label_figure
from sct_hf.training.own_images import add_place, place_words
from sct_hf.training.parsing import parse_into, parser_of
from sct_hf.training.run_data import load_run_data

EXTRAS = {"": "train"}


@dataclass
class CheckArguments(CheckedOptions):
    """The option of the plot."""

    plot: str | None = option(
        None, "PNG to draw: label counts, and labels that occur together.", group="output", unset="none"
    )


_OPTIONS = (CheckArguments, DataArguments)


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    return parser_of(*_OPTIONS, prog="sct-hf check", first=add_place)


def main(argv: Sequence[str]) -> int:
    """Print all problems of the data, or a summary; return the exit code: 0, or 2 for bad data.

    Raises:
        InputError: An option cannot be used.
    """
    words, recognised = place_words(argv, recipe=False)
    if recognised is not None:
        print(recognised)
    arguments, data = parse_into(words, *_OPTIONS)
    try:
        listings = check_run_data(data)
        run_data = load_run_data(data, 0, listings)
    except DataError as error:
        options = parser()
        for problem in error.problems:
            print(in_options(str(problem), options), file=sys.stderr)
        for note in error.notes:
            print(in_lines(f"note: {note}"), file=sys.stderr)
        count = len(error.problems)
        print(f"error: {count} problem{'s' if count > 1 else ''} in the data", file=sys.stderr)
        return 2
    parts = (run_data.all_training, run_data.evaluation)
    summaries = [summarise(images) for images in parts if isinstance(images, LabelledImages)]
    notes = listings.notes
    if isinstance(run_data.all_training, StreamedImages):
        index, streamed = run_data.all_training.index, notes.pop(0)
        print(f"{index.folder}: {index.rows} images in {len(index.shards)} shards, {len(index.label_names)} labels")
        print("".join(in_lines(f"note: {note}") + "\n" for note in streamed))
    for summary, noted in zip(summaries, [*notes, []], strict=False):
        print(format_summary(summary, noted) + "\n")
    if arguments.plot is not None:
        label_figure(summaries, Path(arguments.plot))
        print(f"The plot is in {arguments.plot}")
    return 0
