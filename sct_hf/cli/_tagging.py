"""What commands that tag images share: their options, and the way from a tagger to output."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from transformers.utils import logging

from sct_hf.cli._places import Problems, open_place, place_of, summary
from sct_hf.errors import InputError
from sct_hf.escaping import in_line
from sct_hf.files import sha256_of_file
from sct_hf.inference.files import common_folder, read_names
from sct_hf.inference.heatmaps import write_heatmaps
from sct_hf.inference.limits import add_limits, limits_of
from sct_hf.inference.lookup import Lookup
from sct_hf.inference.mask_files import MASK_LEVEL, MaskFolder
from sct_hf.inference.row_files import ROW_FORMATS
from sct_hf.inference.rows import Columns, row_of
from sct_hf.inference.settings import run_settings
from sct_hf.inference.sidecars import KINDS, Sidecars
from sct_hf.inference.sources import Sources
from sct_hf.inference.tagger import Tagger, Tags
from sct_hf.model.image_processing_sct import LimitError, Limits
from sct_hf.name_lists import PRINTED, some
from sct_hf.progress import activity, progress_bar

_MODEL = "torch"  # the engine that is the model itself
_BATCH = 16
_RAY = "ray"  # the model itself, in the workers of Ray
_SILENT = 1.0 if sys.stderr.isatty() else 30.0  # seconds without a progress bar

EPILOG = (
    "Exit code: 0 for success; 1 if some files could not be read, or heatmaps or masks not written; 2 if nothing "
    "could be done."
)


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add the argument of the images."""
    parser.add_argument(
        "images",
        nargs="+",
        help="Files, folders (with their subfolders), glob patterns, or @FILE, a text file with a path per line. "
        "Parquet files, tars, data sets saved by datasets and hf://datasets/OWNER/NAME give the images in them.",
    )
    parser.add_argument("--image_column", help="Column of the images in Parquet files and data sets.")
    parser.add_argument(
        "--id_column", help="Column of the images' names there (default: images are called FILE#ROW, from 0)."
    )


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
    parser.add_argument(
        "--format",
        choices=("table", *(name for name in ROW_FORMATS if name != "table")),
        help="Format of the output (default: by the file's ending, parquet for a folder, else table).",
    )
    parser.add_argument(
        "--output",
        help="File to write instead of printing, or a folder (FOLDER/), which takes parts of results as they come. A "
        "stopped run goes on from either when the command is given again.",
    )
    parser.add_argument(
        "--sidecars",
        choices=KINDS,
        help="Write tags beside each image instead: photo.jpg.json, or photo.jpg.xmp, whose keywords photo managers "
        "read. What other programs wrote there stays.",
    )
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
    parser.add_argument(
        "--engine",
        default=_MODEL,
        help="What runs the model: torch, onnxruntime or openvino on the CPU, a file that sct-hf export wrote, or "
        "ray, for all cores, GPUs or machines of a cluster (default: %(default)s).",
    )
    parser.add_argument(
        "--batch_size", type=int, help="Images per batch (default: 16; with ray, on a GPU, as many as fit)."
    )
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
    if arguments.boxes and place_of(arguments).format == "table":
        raise InputError("boxes: a table cannot show them; give --format json or csv")
    if arguments.engine == _RAY and (arguments.heatmaps or arguments.masks):
        raise InputError(
            "engine is 'ray', which brings back tags and boxes, but no maps: leave out heatmaps and masks"
        )
    if arguments.mask_level is not None and arguments.masks is None:
        raise InputError(f"mask_level is {arguments.mask_level}, but no masks are written: give a folder by --masks")
    for name in ("heatmaps", "masks"):
        folder = getattr(arguments, name)
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"{name} is {str(folder)!r}, a file: give a folder")
    try:
        with closing(Lookup()) as lookup:
            return _tag(arguments, load, options, lookup)
    except BrokenPipeError:
        raise
    except OSError as error:  # a folder that cannot be written, or a full disk
        raise InputError(str(error)) from error


def _tag(
    arguments: argparse.Namespace, load: Callable[[Limits], Tagger], options: dict[str, Any], lookup: Lookup
) -> int:
    drawn = arguments.heatmaps is not None or arguments.masks is not None
    place = place_of(arguments)
    if arguments.engine not in (_MODEL, _RAY):
        if arguments.device not in (None, "cpu"):
            raise InputError(
                f"device is {arguments.device!r}, but the engine runs on the CPU: leave out one of the two"
            )
        arguments.device = "cpu"
    limits = limits_of(arguments)
    sources = Sources(arguments.images, arguments.image_column, arguments.id_column, place.folder)
    paths = sources.files() if drawn else []
    with activity("loading the model"):
        tagger = load(limits)
    if arguments.engine not in (_MODEL, _RAY):
        from sct_hf.export.engine import make_engine

        with activity(f"making the engine {arguments.engine}"):
            tagger.engine = engine = make_engine(arguments.engine, tagger.model)
        if engine.kept is not None:
            print(in_line(f"engine {arguments.engine}: its graph is kept as {engine.kept}"), file=sys.stderr)
    choosing = {name: getattr(arguments, name) for name in ("threshold", "top_k", "profile", "abstain")} | options
    maps = arguments.boxes or drawn
    level = MASK_LEVEL if arguments.mask_level is None else arguments.mask_level
    pictures: dict[str, Any] = {
        name: str(folder) for name in ("heatmaps", "masks") if (folder := getattr(arguments, name)) is not None
    }
    pictures |= {"mask_level": level} if "masks" in pictures else {}
    settings = partial(run_settings, tagger, engine=_engine_name(arguments.engine), boxes=maps, **choosing, **pictures)
    drawings: dict[str, Callable[[Tags], Any]] = {}
    wanted = lookup.ask
    if arguments.sidecars is not None:
        sidecars = Sidecars(arguments.sidecars, settings(), tagger.label_words)
        wanted = partial(lookup.ask, is_done=sidecars.is_done)
    found = _found(arguments, partial(load, limits), tagger, sources, wanted, {"maps": maps, **choosing})
    own = arguments.threshold is None and not options.get("labels")
    if own and (without := tagger.labels_without_tags(arguments.profile)):
        told = f"no tags of {some(without, PRINTED)}: the profile has no threshold for them"
        print(in_line(told), file=sys.stderr)
    if arguments.masks is not None:
        names = options.get("labels") or tagger.label_names
        drawings["mask"] = MaskFolder(arguments.masks, paths, names, level).write
    if arguments.heatmaps is not None:
        arguments.heatmaps.mkdir(parents=True, exist_ok=True)
        drawings["heatmap"] = partial(_write_heatmaps, limits, arguments.heatmaps, common_folder(paths))
    if arguments.sidecars is not None:
        drawings["sidecar"] = sidecars.write  # the last, as it says that the image is done
    columns = Columns(tagger.pipeline.marks_seen(options.get("labels")), arguments.abstain is not None, maps)
    problems = Problems(shown=not (place.format == "table" and place.path is None and sys.stdout.isatty()))
    with open_place(place, arguments, columns, settings, lookup) as add:
        tagged = 0
        for result in progress_bar(_begun(found), shown=True, unit=" images", delay=_SILENT, leave=False):
            if (error := result.error or _draw(result, drawings)) is None:
                tagged += 1
            else:
                problems.add(f"{result.name}: {error}")
            add(row_of(result) | {"error": error})
    for folder, name in sources.passed_over.items():
        said = f"{folder}: it has images, so {name!r} and other files of many images were passed over; name them too"
        print(in_line(said), file=sys.stderr)
    for pattern, count in sources.no_images.items():
        said = f"{pattern}: passed over {count:,} files that do not end like images"
        print(in_line(said), file=sys.stderr)
    if arguments.sidecars is not None and sidecars.empty:
        print(f"sidecars that were empty, and are written anew: {sidecars.empty:,}", file=sys.stderr)
    problems.close()
    if place.says_counts or lookup.done or lookup.repeated:
        print(summary(tagged, lookup, problems), file=sys.stderr)
    return 1 if problems.count else 0


def _begun(found: Iterator[Tags]) -> Iterator[Tags]:
    """The same, with a word on a terminal until the first is there: they come in batches."""
    with activity("tagging the first images"):
        first = list(islice(found, 1))
    yield from first
    yield from found


def _draw(result: Tags, drawings: dict[str, Callable[[Tags], Any]]) -> str | None:
    """Write what belongs to an image, up to the first that fails; why it failed."""
    for what, draw in drawings.items():
        try:
            draw(result)
        except (InputError, LimitError, OSError) as error:
            return f"no {what}: {error}"
    return None


def _found(
    arguments: argparse.Namespace,
    load: Callable[[], Tagger],
    tagger: Tagger,
    sources: Sources,
    wanted: Callable[[str], bool],
    options: dict[str, Any],
) -> Iterator[Tags]:
    """The tags of the images that are wanted, by this process or the workers of Ray."""
    size = arguments.batch_size
    local = tagger.tag(sources.items(wanted), batch_size=_BATCH if size is None else size, **options)  # checks options
    if arguments.engine != _RAY:
        return local
    from sct_hf.inference.ray_data import tag_by_ray

    return tag_by_ray(sources, wanted, load, batch_size=size, **options)


def _engine_name(engine: str) -> str:
    """An engine in the settings of a run; a file by its content too. Ray runs the model itself."""
    engine = _MODEL if engine == _RAY else engine
    path = Path(engine)
    return f"{path.name} {sha256_of_file(path)}" if path.is_file() else engine


def _write_heatmaps(limits: Limits, folder: Path, root: Path, result: Tags) -> None:
    limits.check_heatmaps(len(result.tags))
    write_heatmaps(result, folder, root)
