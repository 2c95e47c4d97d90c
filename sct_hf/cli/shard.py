"""Write labelled images as shards, which training streams from."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sct_hf.data.shards.write import finished_shards, write_shards
from sct_hf.errors import InputError
from sct_hf.options import SEED, CheckedOptions, option
from sct_hf.training.arguments import DataArguments
from sct_hf.training.own_images import add_place, place_words
from sct_hf.training.parsing import options_on_command_line, parse_into, parser_of
from sct_hf.training.run_data import load_training_images

EXTRAS = {"": "train"}


@dataclass
class ShardArguments(CheckedOptions):
    """The options of the shards."""

    output: str = option(
        "shards/train",
        "Folder to make. Name it after the split: training finds shards/test as split test of data_dir shards.",
        group="output",
    )
    format: Literal["parquet", "tar"] = option(
        "parquet", "Parquet files, or tar archives in the layout of WebDataset.", group="output"
    )
    shards: int = option(
        0,
        "Number of shards; 0 makes one of each 2,000 images, and 16 at least. Give at least one to each process of "
        "training.",
        group="output",
        within=">= 0",
    )
    seed: int = option(0, "Seed of the order of the images, and of other draws.", group="output", within=SEED)


_OPTIONS = (ShardArguments, DataArguments)


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    return parser_of(*_OPTIONS, prog="sct-hf shard", first=add_place)


def main(argv: Sequence[str]) -> int:
    """Write the shards of the training split, and return the exit code 0.

    A folder that the same command has made of the same images stays as it is.

    Raises:
        InputError: Options or data cannot be used, or the folder has other files.
    """
    words, recognised = place_words(argv, recipe=False, scores=False)
    if recognised is not None:
        print(recognised)
    arguments, data = parse_into(words, *_OPTIONS)
    if "holdout" in options_on_command_line(argv):
        raise InputError("holdout holds out images of a training: give it to sct-hf train, which holds out shards")
    images = load_training_images(replace(data, holdout=0.0, eval_split="test"), arguments.seed)
    plan: dict[str, Any] = {"kind": arguments.format, "count": arguments.shards, "seed": arguments.seed}
    folder = Path(arguments.output)
    if (found := finished_shards(images, folder, **plan)) is not None:
        print(f"{folder}: complete already: {len(found.shards):,} shards, {found.rows:,} images")
        return 0
    index = write_shards(images, folder, **plan)
    size = sum(shard.size for shard in index.shards)
    rows = [shard.rows for shard in index.shards]
    each = " to ".join(f"{count:,}" for count in sorted({min(rows), max(rows)}))
    print(
        f"{folder}: {index.rows:,} images and {len(index.label_names)} labels in {len(rows)} shards of "
        f"{each} images, {size / 1e6:,.1f} MB"
    )
    return 0
