"""Score a checkpoint on labelled images."""

import argparse
from collections.abc import Sequence

from transformers.utils import logging

from sct_hf.training.arguments import EvaluationDataArguments, ScoringArguments
from sct_hf.training.own_images import add_place, place_words
from sct_hf.training.parsing import parse_into, parser_of
from sct_hf.training.scoring import score_checkpoint

EXTRAS = {"": "train"}

_OPTIONS = (ScoringArguments, EvaluationDataArguments)


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    return parser_of(*_OPTIONS, prog="sct-hf evaluate", first=add_place)


def main(argv: Sequence[str]) -> int:
    """Score the checkpoint, and return the exit code 0.

    Raises:
        InputError: Options, checkpoint or data cannot be used.
    """
    logging.disable_progress_bar()
    words, recognised = place_words(argv, recipe=False, trains=False)
    if recognised is not None:
        print(recognised)
    score_checkpoint(*parse_into(words, *_OPTIONS))
    return 0
