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
from sct_hf.training.parsing import options_on_command_line, parse_into, parse_with_training

_RECIPE = "benchmark_frozen"
# Name → its own arguments, and the function that takes them, then those of training, and counts the failed runs.
COMMANDS: dict[str, tuple[type, Callable[..., int]]] = {
    "accuracy": (AccuracyArguments, accuracy),
    "ablation": (AblationArguments, ablation),
    "partial": (PartialArguments, partial),
}
SPEED = "speed"


def main(argv: list[str] | None = None) -> int:
    """Run a benchmark, and return the exit code: 0, 1 if a run failed, or 2 for input that cannot be used."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in (*COMMANDS, SPEED):
        print(__doc__)
        return 0 if words in (["-h"], ["--help"]) else 2
    logging.disable_progress_bar()
    try:
        if words[0] == SPEED:
            return 0 if speed(*parse_into(words[1:], SpeedArguments)) else 1
        kind, command = COMMANDS[words[0]]
        values = parse_with_training(words[1:], kind, default=_RECIPE)
        return 1 if command(*values, on_command_line=options_on_command_line(words[1:])) else 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
