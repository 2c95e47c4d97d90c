"""Tag images."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm
from transformers.utils import logging

from sct_hf.cli._parser import CommandParser
from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.files import atomic_write
from sct_hf.inference.files import common_folder, find_images, read_names
from sct_hf.inference.formats import format_tags
from sct_hf.inference.heatmaps import write_heatmaps
from sct_hf.inference.limits import add_limits, limits_of
from sct_hf.inference.tagger import Tagger, Tags
from sct_hf.model.image_processing_sct import LimitError
from sct_hf.own_checkpoint import own_checkpoint


def parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    made = CommandParser(
        prog="sct-hf predict",
        description="Tag images with a multi-label model.",
        epilog="Exit code: 0 for success; 1 if some files could not be read, or heatmaps not written; 2 if nothing "
        "could be done.",
    )
    made.add_argument("images", nargs="+", help="Files, folders (with their subfolders) or glob patterns.")
    made.add_argument(
        "--model", help="Model: a folder of training or a name on the Hub (default: the one in the package)."
    )
    made.add_argument("--threshold", type=float, help="Least score of a tag (default: the checkpoint's, or 0.5).")
    made.add_argument("--top_k", type=int, help="Most tags per image (default: no limit).")
    made.add_argument("--format", choices=("table", "json", "csv"), default="table", help="Format of the output.")
    made.add_argument("--output", type=Path, help="File to write instead of printing.")
    made.add_argument(
        "--heatmaps", type=Path, help="Folder for heatmaps: one PNG per tag that shows its place in the image."
    )
    made.add_argument(
        "--boxes", action="store_true", help="Add each tag's box to json and csv; implied by --heatmaps."
    )
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
    made.add_argument("--device", help="Device, such as cpu or cuda:1 (default: the machine's accelerator, if any).")
    made.add_argument("--batch_size", type=int, default=16, help="Images per batch (default: %(default)s).")
    add_limits(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Tag the images, and return the exit code: 0, or 1 if some images could not be read.

    Raises:
        InputError: No image could be tagged, or no result written.
    """
    logging.disable_progress_bar()
    try:
        return _tag(parser().parse_args(argv))
    except BrokenPipeError:
        raise
    except OSError as error:  # a folder that cannot be written, or a full disk
        raise InputError(str(error)) from error


def _tag(arguments: argparse.Namespace) -> int:
    results: list[Tags] = []
    undrawn: list[str] = []
    known = dict.fromkeys(arguments.known, True) | dict.fromkeys(arguments.known_absent, False)
    if both := sorted({*arguments.known} & {*arguments.known_absent}):
        raise InputError(f"known and known_absent both have {both[0]!r}: give it to one of them")
    if arguments.boxes and arguments.format == "table":
        raise InputError("boxes: a table cannot show them; give --format json or csv")
    for text in arguments.labels:
        if Path(text).suffix and Path(text).is_file():
            raise InputError(
                f"labels is {text!r}, a file, but here it takes names of labels: give dog,sofa, or a text file with "
                "a name per line by labels_file. A table of images and labels is for sct-hf train, check and evaluate"
            )
    labels = [name.strip() for text in arguments.labels for name in text.split(",") if name.strip()]
    if arguments.labels_file is not None:
        labels += read_names(arguments.labels_file)
    maps = arguments.boxes or arguments.heatmaps is not None
    limits = limits_of(arguments)
    paths = find_images(arguments.images)
    tagger = Tagger.from_pretrained(arguments.model or own_checkpoint(), arguments.device, limits)
    found = tagger.tag(
        paths,
        arguments.threshold,
        arguments.top_k,
        arguments.batch_size,
        maps=maps,
        known_labels=known,
        labels=labels or None,
        label_encoder=arguments.label_encoder,
    )
    root = common_folder(paths)
    if arguments.heatmaps is not None:
        arguments.heatmaps.mkdir(parents=True, exist_ok=True)
    quiet = True if len(paths) <= arguments.batch_size else None  # None: unless stderr is a terminal
    for result in tqdm(found, total=len(paths), unit=" images", disable=quiet):
        if arguments.heatmaps is not None and result.error is None:
            try:
                limits.check_heatmaps(len(result.tags))
                write_heatmaps(result, arguments.heatmaps, root)
            except (LimitError, OSError) as error:
                undrawn.append(f"{result.path}: no heatmap: {error}")
        results.append(replace(result, maps={}))
    text = format_tags(results, arguments.format)
    if arguments.output is not None:
        with atomic_write(arguments.output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if arguments.output is None:
        sys.stdout.write(text)
    unread = [f"{result.path}: {result.error}" for result in results if result.error]
    in_table = arguments.output is None and arguments.format == "table" and sys.stdout.isatty()
    for problem in undrawn if in_table else unread + undrawn:
        print(in_line(problem), file=sys.stderr)
    return 1 if unread or undrawn else 0
