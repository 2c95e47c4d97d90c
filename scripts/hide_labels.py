"""The training images of a run, some of their labels hidden, as a CSV file.

python scripts/hide_labels.py --dataset voc2007 --data_dir VOCdevkit --known_proportion 0.1 --output_file known10.csv

Takes the options of scripts/train.py as well, but for those that change labels otherwise. The file's column `unknown`
names the labels that are hidden; `--dataset csv --train_file known10.csv` reads it.
"""

import sys
from dataclasses import dataclass

from sct_hf.data.write_csv import write_csv
from sct_hf.errors import InputError
from sct_hf.options import CheckedOptions, option
from sct_hf.training.parsing import parse_with_training
from sct_hf.training.run_data import load_training_images


@dataclass
class OutputArguments(CheckedOptions):
    """Where the table goes."""

    output_file: str = option("training.csv", "The CSV file to write.", group="output")


def main(argv: list[str] | None = None) -> int:
    """Write the file, and return the exit code: 0, or 2 for input that cannot be used."""
    try:
        output, arguments = parse_with_training(argv, OutputArguments, default=None)
        training = load_training_images(arguments.data, arguments.train.seed)
        write_csv(training, output.output_file)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    targets = training.targets()
    known = f"{(targets >= 0).mean():.1%} of {targets.size:,} entries known, {(targets == 1).sum():,} of them present"
    print(f"{output.output_file}: {len(training):,} images, {known}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
