"""Tag images: `python scripts/predict.py photo.jpg`, or with `--model outputs/run photos/ more/*.jpg`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm
from transformers.utils import logging

from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.files import atomic_write
from sct_hf.hub.own_checkpoint import own_checkpoint
from sct_hf.inference.files import common_folder, find_images, read_names
from sct_hf.inference.formats import format_tags
from sct_hf.inference.heatmaps import write_heatmaps
from sct_hf.inference.limits import add_limits, limits_of
from sct_hf.inference.tagger import Tagger, Tags
from sct_hf.model.image_processing_sct import LimitError


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Tag images with a multi-label model.",
        epilog="Exit code: 0 all went well; 1 some files could not be read, or heatmaps not be written; 2 nothing "
        "could be done.",
    )
    parser.add_argument("images", nargs="+", help="Files, folders (with their subfolders) or glob patterns.")
    parser.add_argument(
        "--model", help="Folder that training wrote, or a model's name on the Hub; the project's own if none."
    )
    parser.add_argument("--threshold", type=float, help="Least score of a tag (default: the checkpoint's, or 0.5).")
    parser.add_argument("--top_k", type=int, help="At most so many tags an image; all by default.")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="How tags are written.")
    parser.add_argument("--output", type=Path, help="File to write instead of printing.")
    parser.add_argument("--heatmaps", type=Path, help="Folder for one PNG a tag: where in the image it was seen.")
    parser.add_argument("--boxes", action="store_true", help="Tell each tag's box in json and csv; so do heatmaps.")
    parser.add_argument(
        "--labels",
        action="append",
        default=[],
        help="Other labels than those of training, for a label scorer: names with commas between them; may be given "
        "several times.",
    )
    parser.add_argument("--labels_file", type=Path, help="Text file of such labels, a line each.")
    parser.add_argument("--label_encoder", help="Text encoder of such labels, where the checkpoint cannot tell.")
    parser.add_argument(
        "--known", action="append", default=[], help="Label that is certainly there; may be given several times."
    )
    parser.add_argument("--known_absent", action="append", default=[], help="Label that is certainly not there.")
    parser.add_argument("--device", help="Such as cpu or cuda:1; the machine's accelerator, if any, by default.")
    parser.add_argument("--batch_size", type=int, default=16, help="Images in a batch (default %(default)s).")
    add_limits(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Tag the images of the command line and return the exit code."""
    arguments = parse(argv)
    logging.disable_progress_bar()
    results: list[Tags] = []
    undrawn: list[str] = []
    known = dict.fromkeys(arguments.known, True) | dict.fromkeys(arguments.known_absent, False)
    try:
        if both := sorted({*arguments.known} & {*arguments.known_absent}):
            raise InputError(f"known and known_absent both have {both[0]!r}: give it to one of them")
        if arguments.boxes and arguments.format == "table":
            raise InputError("boxes: a table has no room for them; give --format json or csv")
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
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.output is None:
        sys.stdout.write(text)
    problems = [f"{result.path}: {result.error}" for result in results if result.error] + undrawn
    for problem in problems:
        print(in_line(problem), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
