"""Fit calibration and thresholds to a checkpoint."""

import argparse
from collections.abc import Sequence

from transformers.utils import logging

from sct_hf.errors import InputError
from sct_hf.options import options_of
from sct_hf.training.arguments import EvaluationDataArguments
from sct_hf.training.calibrate import calibrate, format_decisions
from sct_hf.training.calibration_arguments import CalibrationArguments
from sct_hf.training.own_images import add_place, place_words
from sct_hf.training.parsing import options_on_command_line, parse_into, parser_of

EXTRAS = {"": "train"}

_OPTIONS = (CalibrationArguments, EvaluationDataArguments)


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    return parser_of(*_OPTIONS, prog="sct-hf calibrate", first=add_place)


def main(argv: Sequence[str]) -> int:
    """Fit and write calibration and thresholds, and return the exit code 0.

    Without images, the folder of a finished run is calibrated on its own training images.

    Raises:
        InputError: Options, checkpoint or data cannot be used.
    """
    logging.disable_progress_bar()
    words, recognised = place_words(argv, recipe=False, trains=False)
    if recognised is not None:
        print(recognised)
    arguments, data = parse_into(words, *_OPTIONS)
    given = options_on_command_line(words) & options_of(EvaluationDataArguments).keys()
    own = {"dataset", "data_dir", "eval_file"} & given
    if given and not own:
        name = min(given)
        raise InputError(f"{name} is given without images: name them too, or leave it out for the run's own images")
    print(format_decisions(calibrate(arguments, data if own else None)))
    return 0
