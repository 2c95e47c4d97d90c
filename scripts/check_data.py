"""Check data before training: `python scripts/check_data.py --dataset csv --train_file train.csv ...`, see --help."""

import sys
from dataclasses import dataclass
from pathlib import Path

from sct_hf.data.problems import DataError
from sct_hf.data.summary import format_summary, summarise
from sct_hf.errors import InputError
from sct_hf.escaping import in_lines
from sct_hf.options import CheckedOptions, option
from sct_hf.training.arguments import DataArguments
from sct_hf.training.data_checks import check_run_data
from sct_hf.training.label_figure import label_figure
from sct_hf.training.parsing import parse_into
from sct_hf.training.run_data import load_run_data


@dataclass
class CheckArguments(CheckedOptions):
    """Where the plot goes."""

    plot: str = option("outputs/labels.png", "PNG of counts and of labels seen together.", group="output")


def main() -> int:
    """Print what is wrong, or a summary; return the exit code: 0, or 2 for data that cannot be used."""
    try:
        arguments, data = parse_into(None, CheckArguments, DataArguments)
        listings = check_run_data(data)
        run_data = load_run_data(data, 0, listings)
    except DataError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        for note in error.notes:
            print(in_lines(f"note: {note}"), file=sys.stderr)
        print(f"error: {len(error.problems)} problems in the data", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    summaries = [summarise(images) for images in (run_data.all_training, run_data.evaluation)]
    for summary, noted in zip(summaries, [*listings.notes, []], strict=False):
        print(format_summary(summary, noted) + "\n")
    label_figure(summaries, Path(arguments.plot))
    print(f"The plot is in {arguments.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
