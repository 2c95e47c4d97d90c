"""What commands that tag images share: their options, and the way from a tagger to output."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers.utils import logging

from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.files import atomic_write
from sct_hf.inference.files import common_folder, find_images, read_names
from sct_hf.inference.formats import format_tags
from sct_hf.inference.heatmaps import write_heatmaps
from sct_hf.inference.limits import add_limits, limits_of
from sct_hf.inference.mask_files import MASK_LEVEL, MaskFolder
from sct_hf.inference.tagger import Tagger, Tags
from sct_hf.model.image_processing_sct import LimitError, Limits

EPILOG = (
    "Exit code: 0 for success; 1 if some files could not be read, or heatmaps or masks not written; 2 if nothing "
    "could be done."
)


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add the argument of the images."""
    parser.add_argument("images", nargs="+", help="Files, folders (with their subfolders) or glob patterns.")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options of tags, output and machine."""
    parser.add_argument("--threshold", type=float, help="Least score of a tag (default: the profile's, or 0.5).")
    parser.add_argument(
        "--profile",
        help="The checkpoint's thresholds to use, such as precision=0.9 (default: balanced, or the first by name).",
    )
    parser.add_argument(
        "--abstain", type=float, help="Mark tags as unsure within this distance of their threshold, such as 0.1."
    )
    parser.add_argument("--top_k", type=int, help="Most tags per image (default: no limit).")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="Format of the output.")
    parser.add_argument("--output", type=Path, help="File to write instead of printing.")
    parser.add_argument(
        "--heatmaps", type=Path, help="Folder for heatmaps: one PNG per tag that shows its place in the image."
    )
    parser.add_argument(
        "--masks",
        type=Path,
        help="Folder for masks: one indexed PNG per image with the tag of each pixel, and labels.json.",
    )
    parser.add_argument(
        "--mask_level",
        type=float,
        help=f"Least value of a tag's map, from 0 to 1, at its pixels of a mask (default: {MASK_LEVEL}).",
    )
    parser.add_argument(
        "--boxes", action="store_true", help="Add each tag's box to json and csv; implied by --heatmaps and --masks."
    )
    parser.add_argument("--device", help="Device, such as cpu or cuda:1 (default: the machine's accelerator, if any).")
    parser.add_argument("--batch_size", type=int, default=16, help="Images per batch (default: %(default)s).")
    add_limits(parser)


def label_names(arguments: argparse.Namespace) -> list[str]:
    """The names that `--labels`, with commas between them, and `--labels_file` give.

    Raises:
        InputError: A name is a file, or the file of names cannot be used.
    """
    for text in arguments.labels:
        if Path(text).suffix and Path(text).is_file():
            raise InputError(
                f"labels is {text!r}, a file, but here it takes names of labels: give dog,sofa, or a text file with "
                "a name per line by labels_file. A table of images and labels is for sct-hf train, check and evaluate"
            )
    names = [name.strip() for text in arguments.labels for name in text.split(",") if name.strip()]
    return names if arguments.labels_file is None else names + read_names(arguments.labels_file)


def tag(arguments: argparse.Namespace, load: Callable[[Limits], Tagger], **options: Any) -> int:
    """Tag the images and write the result.

    Args:
        arguments: Parsed options, with those of `add_images` and `add_output`.
        load: Makes the tagger with these limits; called when the images are found.
        **options: Further options of `Tagger.tag`.

    Returns:
        The exit code: 0, or 1 if some images could not be read.

    Raises:
        InputError: No image could be tagged, or no result written.
    """
    logging.disable_progress_bar()
    if arguments.boxes and arguments.format == "table":
        raise InputError("boxes: a table cannot show them; give --format json or csv")
    if arguments.mask_level is not None and arguments.masks is None:
        raise InputError(f"mask_level is {arguments.mask_level}, but no masks are written: give a folder by --masks")
    for name in ("heatmaps", "masks"):
        folder = getattr(arguments, name)
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"{name} is {str(folder)!r}, a file: give a folder")
    try:
        return _tag(arguments, load, options)
    except BrokenPipeError:
        raise
    except OSError as error:  # a folder that cannot be written, or a full disk
        raise InputError(str(error)) from error


def _tag(arguments: argparse.Namespace, load: Callable[[Limits], Tagger], options: dict[str, Any]) -> int:
    results: list[Tags] = []
    undrawn: list[str] = []
    maps = arguments.boxes or arguments.heatmaps is not None or arguments.masks is not None
    limits = limits_of(arguments)
    paths = find_images(arguments.images)
    chosen = (arguments.threshold, arguments.top_k, arguments.batch_size)
    tagger = load(limits)
    found = tagger.tag(paths, *chosen, profile=arguments.profile, abstain=arguments.abstain, maps=maps, **options)
    own = arguments.threshold is None and not options.get("labels")
    if own and (without := tagger.labels_without_tags(arguments.profile)):
        named = ", ".join(without)
        print(in_line(f"no tags of {named}: the profile has no threshold for them"), file=sys.stderr)
    drawings: dict[str, Callable[[Tags], Any]] = {}
    if arguments.masks is not None:
        names = options.get("labels") or tagger.label_names
        level = MASK_LEVEL if arguments.mask_level is None else arguments.mask_level
        drawings["mask"] = MaskFolder(arguments.masks, paths, names, level).write
    if arguments.heatmaps is not None:
        arguments.heatmaps.mkdir(parents=True, exist_ok=True)
        drawings["heatmap"] = partial(_write_heatmaps, limits, arguments.heatmaps, common_folder(paths))
    quiet = True if len(paths) <= arguments.batch_size else None  # None: unless stderr is a terminal
    for result in tqdm(found, total=len(paths), unit=" images", disable=quiet):
        for what, draw in drawings.items() if result.error is None else ():
            try:
                draw(result)
            except (LimitError, OSError) as error:
                undrawn.append(f"{result.path}: no {what}: {error}")
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


def _write_heatmaps(limits: Limits, folder: Path, root: Path, result: Tags) -> None:
    limits.check_heatmaps(len(result.tags))
    write_heatmaps(result, folder, root)
