"""Benchmarks: `python scripts/benchmark.py accuracy|ablation|partial|speed [--option value ...]`.

accuracy: heads on one frozen or fine-tuned backbone, each searched on a part held out of train.
ablation: variants of SCT, one change at a time, on parts held out of train.
partial: treatments of unknown labels over the share of labels that is known.
speed: heads, the transport loss, metrics and the input pipeline, against what people would use instead.

The first three take the options of scripts/train.py as well, and a recipe (benchmark_frozen by default). With --help
after the name, its options.
"""

import sys
from collections.abc import Callable

from transformers.utils import logging

from sct_hf.benchmark.ablation import AblationArguments, ablation
from sct_hf.benchmark.accuracy import AccuracyArguments, accuracy
from sct_hf.benchmark.partial import PartialArguments, partial
from sct_hf.benchmark.speed import SpeedArguments, speed
from sct_hf.errors import InputError
from sct_hf.training.arguments import DataArguments, ModelArguments, TrainArguments
from sct_hf.training.parsing import options_said, parse_into, parse_with_recipe

_RECIPE = "benchmark_frozen"
_TRAINING = (DataArguments, ModelArguments, TrainArguments)
# Name → the kinds of arguments, and the function that takes one of each and returns the number of failures, if any.
COMMANDS: dict[str, tuple[tuple[type, ...], Callable[..., int | None]]] = {
    "accuracy": ((AccuracyArguments, *_TRAINING), accuracy),
    "ablation": ((AblationArguments, *_TRAINING), ablation),
    "partial": ((PartialArguments, *_TRAINING), partial),
    "speed": ((SpeedArguments,), lambda arguments: 0 if speed(arguments) else 1),
}


def main(argv: list[str] | None = None) -> int:
    """Run a benchmark, and return the exit code: 0, 1 if a run failed, or 2 for input that cannot be used."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        print(__doc__)
        return 0 if words in (["-h"], ["--help"]) else 2
    kinds, command = COMMANDS[words[0]]
    logging.disable_progress_bar()
    try:
        if DataArguments in kinds:
            values = parse_with_recipe(words[1:], *kinds, default=_RECIPE)
            return 1 if command(*values, said=options_said(words[1:])) else 0
        return 1 if command(*parse_into(words[1:], *kinds)) else 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
