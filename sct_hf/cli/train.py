"""Train a model on labelled images."""

import argparse
import os
import shlex
from collections.abc import Sequence

from transformers.utils import logging

from sct_hf.training.loop import train
from sct_hf.training.own_images import add_place, place_words
from sct_hf.training.parsing import parse, training_parser

EXTRAS = {"": "train", "IMAGES": "offline"}


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    return training_parser(prog="sct-hf train", first=add_place)


def main(argv: Sequence[str]) -> int:
    """Train, and return the exit code 0.

    Raises:
        InputError: Options or data cannot be used.
    """
    logging.disable_progress_bar()
    words, recognised = place_words(argv, recipe=True)
    arguments = parse(words)
    first_process = os.environ.get("RANK", "0") == "0"
    if recognised is not None and first_process:
        print(recognised)
    train(arguments)
    if first_process:
        print(f"\nTag images with it: sct-hf predict --model {shlex.quote(arguments.train.output_dir)} IMAGE")
    return 0
