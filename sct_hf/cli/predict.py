"""Tag images."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sct_hf.cli._parser import CommandParser
from sct_hf.cli._tagging import EPILOG, add_images, add_output, label_names, tag
from sct_hf.errors import InputError
from sct_hf.inference.tagger import Tagger
from sct_hf.own_checkpoint import given_or_own


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(prog="sct-hf predict", description="Tag images with a multi-label model.", epilog=EPILOG)
    add_images(made)
    made.add_argument(
        "--model", help="Model: a folder of training or a name on the Hub (default: the one in the package)."
    )
    add_output(made)
    made.add_argument(
        "--labels",
        action="append",
        default=[],
        help="Other labels than those of training, for a label scorer: names with commas between them; may be given "
        "several times.",
    )
    made.add_argument("--labels_file", type=Path, help="Text file of such labels, one per line.")
    made.add_argument("--label_encoder", help="Text encoder of such labels, if the checkpoint records no usable one.")
    made.add_argument("--known", action="append", default=[], help="Label known to be present; repeatable.")
    made.add_argument("--known_absent", action="append", default=[], help="Label known to be absent; repeatable.")
    return made


def main(argv: Sequence[str]) -> int:
    """Tag the images, and return the exit code: 0, or 1 if some images could not be read.

    Raises:
        InputError: No image could be tagged, or no result written.
    """
    arguments = parser().parse_args(argv)
    known = dict.fromkeys(arguments.known, True) | dict.fromkeys(arguments.known_absent, False)
    if both := sorted({*arguments.known} & {*arguments.known_absent}):
        raise InputError(f"known and known_absent both have {both[0]!r}: give it to one of them")
    return tag(
        arguments,
        lambda limits: Tagger.from_pretrained(given_or_own(arguments.model), arguments.device, limits),
        known_labels=known,
        labels=label_names(arguments) or None,
        label_encoder=arguments.label_encoder,
    )
