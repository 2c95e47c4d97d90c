"""Compare heads, variants of SCT, treatments of unknown labels, and speed."""

import argparse
from collections.abc import Callable, Sequence

from transformers.utils import logging

from sct_hf.benchmark.ablation import AblationArguments, ablation
from sct_hf.benchmark.accuracy import AccuracyArguments, accuracy
from sct_hf.benchmark.partial import PartialArguments, partial
from sct_hf.benchmark.speed import SpeedArguments, speed
from sct_hf.training.parsing import (
    options_on_command_line,
    parse_into,
    parse_with_training,
    parser_of,
    training_parser,
)

EXTRAS = {"": "train"}

_RECIPE = "benchmark_frozen"
# Name → its own arguments, and the function that takes them, then those of training, and counts the failed runs.
COMMANDS: dict[str, tuple[type, Callable[..., int]]] = {
    "accuracy": (AccuracyArguments, accuracy),
    "ablation": (AblationArguments, ablation),
    "partial": (PartialArguments, partial),
}
SPEED = "speed"


def parser() -> argparse.ArgumentParser:
    """The parser of the command: the name of a benchmark, then its options."""
    made = argparse.ArgumentParser(
        prog="sct-hf benchmark",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="accuracy   heads on one backbone, with settings searched on held-out parts of train\n"
        "ablation   variants of SCT, one change at a time, on held-out parts of train\n"
        "partial    treatments of unknown labels, over the share of known labels\n"
        "speed      heads, the transport loss, metrics and the input pipeline, compared with alternatives",
        epilog="sct-hf benchmark NAME --options lists its options. The first three also take the options and "
        f"recipes of sct-hf train ({_RECIPE} by default).",
    )
    made.add_argument("name", choices=[*COMMANDS, SPEED])
    made.add_argument("--options", action="store_true", help="List the options of this benchmark.")
    return made


def main(argv: Sequence[str]) -> int:
    """Run a benchmark, and return the exit code: 0, or 1 if a run failed.

    Raises:
        InputError: An option cannot be used.
    """
    name = parser().parse_known_args(argv)[0].name
    words = [word for word in argv if word != name]
    if "--options" in words:
        prog = f"sct-hf benchmark {name}"
        listed = (
            parser_of(SpeedArguments, prog=prog) if name == SPEED else training_parser(COMMANDS[name][0], prog=prog)
        )
        print(listed.format_help())
        return 0
    logging.disable_progress_bar()
    if name == SPEED:
        return 0 if speed(*parse_into(words, SpeedArguments)) else 1
    kind, command = COMMANDS[name]
    values = parse_with_training(words, kind, default=_RECIPE)
    return 1 if command(*values, on_command_line=options_on_command_line(words)) else 0
