"""Choose which images to label next, and group what the labels do not cover."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from sct_hf.cli._parser import CommandParser
from sct_hf.curation.suggest import suggest
from sct_hf.curation.suggest_files import require_no_labels, write_suggestions
from sct_hf.curation.unlabelled import without_labelled
from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.inference.files import common_folder, find_images, read_names
from sct_hf.inference.limits import add_limits, limits_of
from sct_hf.inference.tagger import Tagger

EXTRAS = {"": "suggest"}


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf suggest",
        description="Tag images without labels, choose which to label next, and group what the labels do not cover.",
    )
    made.add_argument("model", help="Model: a folder of training or a name on the Hub.")
    made.add_argument("images", nargs="+", help="Image files, folders (with their subfolders) or glob patterns.")
    made.add_argument("--count", type=int, default=200, help="Images to choose (default: %(default)s).")
    made.add_argument(
        "--by",
        choices=("random", "uncertain"),
        default="random",
        help="Choose at random, or those whose labels the model is least sure of (default: %(default)s).",
    )
    made.add_argument(
        "--labelled",
        type=Path,
        metavar="PLACE",
        help="Folder or table of images that have labels already: they are left out, by their content.",
    )
    made.add_argument(
        "--vocabulary",
        type=Path,
        metavar="FILE",
        help="Text file of words for groups, one per line (default: WordNet's nouns for ImageNet's classes).",
    )
    made.add_argument(
        "--output", type=Path, default=Path("suggestions"), help="Folder to write into (default: %(default)s)."
    )
    made.add_argument(
        "--profile", help="Profile of the checkpoint's thresholds for tags (default: balanced, or the first by name)."
    )
    made.add_argument("--seed", type=int, default=0, help="Seed of all draws (default: %(default)s).")
    made.add_argument("--device", help="Device, such as cpu or cuda:1 (default: the machine's accelerator, if any).")
    made.add_argument("--batch_size", type=int, default=16, help="Images per batch (default: %(default)s).")
    add_limits(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Write the suggestions, and return the exit code: 0, or 1 if some images could not be read.

    Raises:
        InputError: An option, the model or all images cannot be used.
    """
    arguments = parser().parse_args(argv)
    logging.disable_progress_bar()
    if arguments.output.exists() and not arguments.output.is_dir():
        raise InputError(f"output is {str(arguments.output)!r}, a file: give a folder")
    require_no_labels(arguments.output)
    words = None if arguments.vocabulary is None else read_names(arguments.vocabulary, "vocabulary")
    paths = find_images(arguments.images)
    if arguments.labelled is not None:
        paths, line = without_labelled(paths, arguments.labelled)
        print(in_line(line))
    tagger = Tagger.from_pretrained(arguments.model, arguments.device, limits_of(arguments))
    found = suggest(
        tagger,
        paths,
        count=arguments.count,
        by=arguments.by,
        words=words,
        profile=arguments.profile,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
    )
    for line in [*found.images.unread, *([found.note] if found.note and found.clusters else [])]:
        print(in_line(line), file=sys.stderr)
    written = write_suggestions(found, arguments.output, source=Path(arguments.model).name)
    bare = sum(not tags for tags in found.tags)
    print(f"{len(found.tags)} images, {bare} without a known label; {len(found.chosen)} to label next")
    for cluster in found.clusters:
        print(in_line(f"  {len(cluster.rows):5} images: {', '.join(cluster.words) or 'no words'}"))
    print(in_line(f"Look at {written[0]}, write labels into {written[1]}, delete the lines without, and train:"))
    folder = common_folder(found.images.paths)
    print(in_line(f"  sct-hf train {shlex.quote(str(folder))} --labels {shlex.quote(str(written[1]))}"))
    return 1 if found.images.unread else 0
