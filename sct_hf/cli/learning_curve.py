"""Measure what fewer images give, and forecast what twice as many would."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass

from transformers.utils import logging

from sct_hf.options import CheckedOptions, option
from sct_hf.training.curve import format_curve
from sct_hf.training.learning_curve import FOLDS, learning_curve
from sct_hf.training.own_images import add_place, place_words
from sct_hf.training.parsing import DEFAULT_RECIPE, options_on_command_line, parse_with_training, training_parser

EXTRAS = {"": "train", "IMAGES": "offline"}


@dataclass
class CurveArguments(CheckedOptions):
    """The option of the curve."""

    folds: int = option(FOLDS, "Folds of the training images; each is scored once.", group="curve", within="> 1")


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    return training_parser(CurveArguments, prog="sct-hf learning-curve", first=add_place)


def main(argv: Sequence[str]) -> int:
    """Train on parts of the images, print the curve, and return the exit code 0.

    Raises:
        InputError: Options or data cannot be used.
    """
    logging.disable_progress_bar()
    words, recognised = place_words(argv, recipe=True)
    said = options_on_command_line(words)
    if "output_dir" not in said:
        words = ["--output_dir=outputs/learning-curve", *words]
    default = None if "dataset" in said else DEFAULT_RECIPE
    options, arguments = parse_with_training(words, CurveArguments, default=default)
    first_process = os.environ.get("RANK", "0") == "0"
    if recognised is not None and first_process:
        print(recognised)
    curve = learning_curve(arguments, options.folds)
    if first_process:
        print(format_curve(curve))
        print(f"The curve is in {arguments.train.output_dir}/learning_curve.html")
    return 0
