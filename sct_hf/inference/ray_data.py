"""Tagging by Ray Data, on this machine or on a cluster.

Ray reads the images in its tasks, sends their bytes to actors that hold the model, and starts again what is lost with
a worker. Names go out from here, and rows come back.
"""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sct_hf.errors import InputError
from sct_hf.extras import install_line
from sct_hf.inference.batches import BatchTagger
from sct_hf.inference.hub_rows import HubRows
from sct_hf.inference.items import Item
from sct_hf.inference.rows import tags_of
from sct_hf.inference.sources import Sources
from sct_hf.inference.tagger import Tagger, Tags
from sct_hf.network import failure_reason

CHUNK = 256
"""Images that an actor gets at once: a multiple of usual batches, so that these are those of one process."""

_NOT_UTF8 = "its name is not UTF-8, and Ray cannot send it: tag it without ray"
_BYTES = 2**28  # of a chunk at most, but for its last image: a cell of Arrow holds less than 2 GB
_WINDOW = 100_000  # images that are given to Ray at once, so that memory here does not grow with their number

Unit = dict[str, Any]
"""What one task reads: `names` of images, and the `file` that has them all, or None if each is a file."""


def tag_by_ray(
    sources: Sources, wanted: Callable[[str], bool], load: Callable[[], Tagger], **options: Any
) -> Iterator[Tags]:
    """Tag images on the cluster of the environment variable `RAY_ADDRESS`, or else on all cores of this machine.

    Every machine must see the images, and the model's folder, under the same paths. An actor has one GPU if the
    cluster has any, else one core.

    Args:
        sources: The images.
        wanted: Whether the image of this name is to be tagged; asked once for each.
        load: Makes the tagger, in each worker.
        **options: Options of `BatchTagger`, such as `batch_size`, and of `Tagger.tag`.

    Yields:
        The tags of each image, as they are done. Boxes come with them, but no maps.

    Raises:
        InputError: Ray is not installed or does not start, or a worker found an option or the model unusable.
    """
    ray = _ray()
    if not ray.is_initialized():
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # an actor that is started again is no error
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except Exception as error:  # a late node raises no class of its own
            raise InputError(
                f"engine is 'ray', which does not start ({failure_reason(error)}): try again on a less busy machine, "
                "or set RAY_ADDRESS to a cluster that runs"
            ) from error
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    units: list[Unit] = []
    for unit in _units(sources, wanted):
        if isinstance(unit, Tags):
            yield unit
            continue
        units.append(unit)
        if sum(len(unit["names"]) for unit in units) >= _WINDOW:
            yield from _tagged(ray, units, load, options)
            units = []
    if units:
        yield from _tagged(ray, units, load, options)


class ChunkTagger:
    """A `BatchTagger` of chunks: a table with a row for each chunk gives a table with a row for each image."""

    def __init__(self, load: Callable[[], Tagger], **options: Any) -> None:
        self.tagger = BatchTagger(load(), **options)

    def __call__(self, chunks: Any) -> Any:
        """Tag the images of chunks that `_read` made."""
        import pyarrow

        rows = [row for chunk in chunks.to_pylist() for row in self.tagger.rows(list(_received(chunk)))]
        return pyarrow.Table.from_pylist(rows, schema=self.tagger.schema)


def _tagged(ray: Any, units: list[Unit], load: Callable[[], Tagger], options: dict[str, Any]) -> Iterator[Tags]:
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    actors = ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, gpus or int(resources["CPU"])))
    chunks = ray.data.from_items(units, override_num_blocks=len(units)).flat_map(_read)
    tags = chunks.map_batches(
        ChunkTagger,
        fn_constructor_args=[load],
        fn_constructor_kwargs=options,
        batch_size=1,
        batch_format="pyarrow",
        compute=actors,
        num_gpus=1 if gpus else None,
    )
    try:
        for table in tags.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from map(tags_of, table.to_pylist())
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from error
        raise


def _units(sources: Sources, wanted: Callable[[str], bool]) -> Iterator[Unit | Tags]:
    """The images that are wanted, by what one task reads; the errors of what cannot be. Only names are read here."""
    files: list[str] = []

    def unit(names: list[str], file: Path | None = None) -> Unit:
        within = {"image_column": sources.image_column, "id_column": sources.id_column}
        return {"names": names, "file": file and str(file), "folder": os.getcwd(), **within}

    for place in sources.places():
        if isinstance(place, Item):
            yield from [Tags(Path(place.name), error=place.error or "no image")] * wanted(place.name)
        elif isinstance(place, HubRows):
            raise InputError(
                f"engine is 'ray', which reads no data set on the Hub ({place}): save it by save_to_disk of datasets, "
                "and give its folder"
            )
        elif not _is_utf8(str(place)):
            yield from [Tags(place, error=_NOT_UTF8)] * wanted(str(place))
        elif sources.has_many(place):
            names, broken = _wanted_of(place, sources, wanted)
            yield from (Tags(Path(name), error=_NOT_UTF8, name=name) for name in broken)
            yield from [unit(names, place)] * bool(names)
        elif wanted(str(place)):
            files.append(str(place))
            if len(files) == CHUNK:
                yield unit(files)
                files = []
    if files:
        yield unit(files)


def _wanted_of(place: Path, sources: Sources, wanted: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Names in a place that are wanted: those that Ray can send, and the others."""
    names: list[str] = []
    broken: list[str] = []

    def note(name: str) -> bool:
        if wanted(name):
            (names if _is_utf8(name) else broken).append(name)
        return False  # so that no images are read

    for _ in sources.of(place, note):
        pass
    return names, broken


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(unit: Unit) -> Iterator[dict[str, list[Any]]]:
    """Chunks of a unit, see `_sent`. Runs in a task of Ray."""
    os.chdir(unit["folder"])  # where relative paths begin
    items = map(Item.of, unit["names"]) if unit["file"] is None else _items_in(unit)
    chunk: list[dict[str, Any]] = []
    size = 0
    for sent in map(_sent, items):
        chunk.append(sent)
        size += len(sent["image"] or b"")
        if len(chunk) == CHUNK or size >= _BYTES:
            yield {key: [row[key] for row in chunk] for key in chunk[0]}
            chunk, size = [], 0
    if chunk:
        yield {key: [row[key] for row in chunk] for key in chunk[0]}


def _items_in(unit: Unit) -> Iterator[Item]:
    """The images of a unit that are in one file, each once; those that do not come have an error."""
    left, found = set(unit["names"]), set()

    def take(name: str) -> bool:
        is_left = name in left
        left.discard(name)
        return is_left

    if os.path.exists(unit["file"]):
        for item in Sources([unit["file"]], unit["image_column"], unit["id_column"]).items(take):
            found.add(item.name)
            yield item
    for name in unit["names"]:
        if name not in found:
            yield Item(name, None, f"it cannot be read from {unit['file']}")


def _sent(item: Item) -> dict[str, Any]:
    """What travels of an item: its `name`, its bytes as `image`, and a `file` that cannot be read or its `error`."""
    image, file = item.image, None
    if isinstance(image, Path):
        try:
            image = image.read_bytes()
        except OSError:
            image, file = None, str(image)  # whoever tags it says why
    return {"name": item.name, "image": image, "file": file, "error": item.error}


def _received(chunk: dict[str, list[Any]]) -> Iterator[Item]:
    for name, image, file, error in zip(*(chunk[key] for key in ("name", "image", "file", "error")), strict=True):
        yield Item(name, image if file is None else Path(file), error)


def _ray() -> Any:
    try:
        import ray.data
    except ModuleNotFoundError as error:
        raise InputError(f"engine is 'ray', which is not installed: {install_line('ray')}") from error
    return ray
