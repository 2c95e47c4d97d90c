"""`sct-hf train photos/ --labels labels.csv`, and so for check and evaluate: own images without further options."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from sct_hf.data.recognise import Place, place_of, recognise
from sct_hf.data.registry import find_reader
from sct_hf.errors import InputError
from sct_hf.extras import missing_of
from sct_hf.training.data_arguments import HELD_OUT, HOLDOUT
from sct_hf.training.parsing import options_on_command_line

_RECIPE = "small"
_STREAMED = {"cache_features": "false", "calibration_folds": "0"}  # of the recipe: what needs a list of all images
_HELD_OUT = {"eval_split": HELD_OUT, "holdout": str(HOLDOUT)}
_ALL = {"data_dir"}  # options of a place that training and scoring have


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of own images to a parser, for its help."""
    parser.usage = "%(prog)s [IMAGES] [--labels TABLE] [--option value ...]"
    group = parser.add_argument_group("own images")
    group.add_argument(
        "images",
        nargs="?",
        metavar="IMAGES",
        help="Folder of labelled images, or a file that lists them. It comes first; the format is recognised.",
    )
    group.add_argument(
        "--labels",
        metavar="TABLE",
        help="Table of labels, for a folder of only images: one line per image, with the columns image and labels.",
    )


def place_words(
    argv: Sequence[str], *, recipe: bool, trains: bool = True, scores: bool = True
) -> tuple[list[str], str | None]:
    """Turn a command line that starts with a place of images into options; explicit options override them.

    `--dataset` sets the format; else it is recognised. If the place has no split to score, a fifth of its images is
    held out and scored; a command that does not train scores all of them. On a CPU the default recipe is "small".

    Args:
        argv: The arguments: a file or folder, `--labels FILE` for a folder with only images, and options.
        recipe: Whether the command takes a recipe.
        trains: Whether the command takes the options of training data; else only those of the images to score.
        scores: Whether the command scores or checks a split, or holds images out to score.

    Returns:
        The arguments as options, and a line on the recognised format; None for a command line without a place.

    Raises:
        InputError: The place does not exist, or its format is unknown or ambiguous.
    """
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    known.add_argument("--labels")
    try:
        given, words = known.parse_known_args(list(argv))
    except argparse.ArgumentError as error:
        raise InputError(str(error)) from error
    if not words or words[0].startswith("-"):
        if given.labels is not None:
            raise InputError(f"labels is {given.labels!r}: name the folder of the images as the first word")
        return words, None
    source, *words = words
    said = options_on_command_line(words)
    if "dataset" in said:
        options = {"train_file" if Path(source).is_file() else "data_dir": source}
        options |= {"train_file": given.labels} if given.labels else {}
        place = place_of(_value_of("dataset", words), options)
    else:
        place = recognise(Path(source), None if given.labels is None else Path(given.labels))
    found = {"dataset": place.dataset} | {
        name: place.options[name] for name in place.options if trains or name in _ALL
    }
    line = f"{source} is read as {place.dataset}"
    if scores and not said & {"eval_split", "eval_file"}:
        found |= place.evaluation or (_HELD_OUT if trains else _all_of(place))
        scored = ", ".join(f"{name} {value}" for name, value in place.evaluation.items())
        line += f", scored on {scored or ('a fifth of the images, held out' if trains else 'all images')}"
    if recipe and "recipe" not in said and not torch.cuda.is_available():
        if missing := missing_of(["offline"], with_them=["train"]):
            raise InputError(
                f"recipe {_RECIPE}, the default for own images on a CPU, needs {missing[0]}, which is not installed: "
                f"{missing[1]}, or give another --recipe"
            )
        found["recipe"] = _RECIPE
        line += f", recipe {_RECIPE}"
        if find_reader(place.dataset).streamer is not None:
            found |= _STREAMED
            line += " without cached maps"
    return [*(f"--{name}={value}" for name, value in found.items()), *words], line


def _all_of(place: Place) -> dict[str, str]:
    """The options that score what a place without a split to score would train on."""
    file = {"eval_file": place.options["train_file"]} if "train_file" in place.options else {}
    return file | {"eval_split": place.options.get("train_split", "train")}


def _value_of(option: str, words: Sequence[str]) -> str:
    """The value that a command line has for an option, the last one if it is given twice."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument(f"--{option}", default="")
    return str(getattr(finder.parse_known_args(list(words))[0], option))
