"""Write a table of a run's training images, with some labels marked unknown."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from sct_hf.data.write_csv import write_csv
from sct_hf.options import CheckedOptions, option
from sct_hf.training.parsing import parse_with_training, training_parser
from sct_hf.training.run_data import load_training_images

EXTRAS = {"": "train"}


@dataclass
class OutputArguments(CheckedOptions):
    """The option of the table."""

    output_file: str = option("training.csv", "CSV file to write.", group="output")


def parser() -> argparse.ArgumentParser:
    """The parser of the command: its own option, and the options of training for images and labels."""
    return training_parser(OutputArguments, prog="sct-hf hide")


def main(argv: Sequence[str]) -> int:
    """Write the file, with the hidden labels in the column `unknown`, and return the exit code 0.

    Raises:
        InputError: Options or data cannot be used.
    """
    output, arguments = parse_with_training(argv, OutputArguments, default=None)
    training = load_training_images(arguments.data, arguments.train.seed)
    write_csv(training, output.output_file)
    targets = training.targets()
    known = f"{(targets >= 0).mean():.1%} of {targets.size:,} entries known, {(targets == 1).sum():,} of them present"
    print(f"{output.output_file}: {len(training):,} images, {known}")
    return 0
