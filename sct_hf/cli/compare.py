"""Compare two runs or evaluations of the same images."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sct_hf.cli._parser import CommandParser
from sct_hf.errors import InputError
from sct_hf.training.compare import compare, format_comparison, write_comparison

EXTRAS = {"": "train"}


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf compare",
        description="Compare two runs or evaluations of the same images: figures with 95 % intervals of their "
        "difference by a paired bootstrap, differences by label, and the images that differ most, on one page.",
    )
    made.add_argument("first", type=Path, help="Output folder of sct-hf train or sct-hf evaluate.")
    made.add_argument("second", type=Path, help="Another one, of the same images and labels.")
    made.add_argument(
        "--output_file", type=Path, default=Path("compare.html"), help="The page to write (%(default)s)."
    )
    made.add_argument(
        "--image_dir", type=Path, metavar="FOLDER", help="Folder of the images, to show those that differ most."
    )
    made.add_argument("--seed", type=int, default=0, help="Seed of the bootstrap (%(default)s).")
    return made


def main(argv: Sequence[str]) -> int:
    """Print the figures and write the page, and return the exit code 0.

    Raises:
        InputError: A folder has no scores, the two cannot be compared, or the page cannot be written.
    """
    arguments = parser().parse_args(argv)
    if arguments.seed < 0:
        parser().error(f"--seed is {arguments.seed}: give 0 or more")
    found = compare(arguments.first, arguments.second, seed=arguments.seed)
    try:
        write_comparison(found, arguments.output_file, arguments.image_dir)
    except OSError as error:
        path, reason = str(arguments.output_file), error.strerror or error
        raise InputError(f"output_file is {path!r}, which cannot be written ({reason}): give another") from error
    print(f"{format_comparison(found)}\n\nThe page is {arguments.output_file}")
    return 0
