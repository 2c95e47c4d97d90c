"""Read a folder of shards: streamed for training, listed for all else."""

from contextlib import AbstractContextManager
from pathlib import Path

from sct_hf.data.damage import named_damage
from sct_hf.data.listing import Listing, Look, Record
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request, register_reader
from sct_hf.data.shards.formats import format_of
from sct_hf.data.shards.images import ShardImages, StreamedImages
from sct_hf.data.shards.index import INDEX, ShardIndex, read_contents
from sct_hf.data.shards.rows import names_of_cell
from sct_hf.data.shards.scan import open_index


def _sign(place: Path) -> dict[str, Path] | None:
    """A folder with `shards.json`, or whose folder `train` has it, or with tar archives."""
    if not place.is_dir():
        return None
    indexed = any((inner / INDEX).is_file() for inner in (place, place / "train"))
    archives = any(next(place.glob(pattern), None) for pattern in ("train-*.tar", "train/*.tar"))
    return {"data_dir": place} if indexed or archives else None


def _stream(request: Request, problems: Problems) -> StreamedImages:
    return StreamedImages(_index(request, problems), request.dataset, request.split)


@register_reader(
    "shards",
    title="",
    takes=["image_column", "label_column", "label_names"],
    needs=["data_dir"],
    published=True,
    sign=_sign,
    layout=f"a folder with {INDEX}, as sct-hf shard makes it, or of WebDataset's tar archives",
    streamer=_stream,
)
def list_shards(request: Request, problems: Problems) -> Listing:
    """List a split of a folder of shards; training streams it instead.

    A shard is a Parquet file or a tar archive in the layout of WebDataset; `sct_hf.data.shards.scan` says where
    those of a split are. A folder without `shards.json` is indexed first, in one pass over all images.

    Args:
        request: `data_dir`, the folder; `split`; `image_column`, `label_column` and `label_names`, for shards that
            were not made by `sct-hf shard`.
        problems: Collects what the pass finds.

    Raises:
        InputError: There are no shards, or they are not those of their index.
    """
    index = _index(request, problems)
    return Listing(f"{index.folder}") if problems.found else listing_of(index)


def listing_of(index: ShardIndex) -> Listing:
    """The listing of some shards. Their images were opened when the index was made.

    Raises:
        InputError: `contents.txt` is damaged.
    """
    with _reading(index.folder):
        form, names = format_of(index.files[0]), index.label_names
        records = []
        for shard in index.shards:
            file = index.folder / shard.file
            for row, cells in enumerate(form.labels([file], index.columns)):
                labels, unknown = (names_of_cell(cell, names) for cell in (cells.labels, cells.unknown))
                place = f"{file}, row {row}"
                records.append(Record(place, cells.image_id or f"{shard.file}#{row}", None, labels, unknown))
        looks = [Look(None, int(content).to_bytes(8, "big")) for content in read_contents(index)]
        return Listing(str(index.folder), records, list(names), images=ShardImages(index), looks=looks)


def _index(request: Request, problems: Problems) -> ShardIndex:
    assert request.data_dir is not None
    columns = {"image": request.image_column, "labels": request.label_column}
    with _reading(request.data_dir):
        return open_index(
            request.data_dir,
            request.split,
            problems,
            columns={role: column for role, column in columns.items() if column is not None},
            label_names=request.label_names,
            cache_dir=request.cache_dir,
        )


def _reading(folder: Path) -> AbstractContextManager[None]:
    """Name the folder in the error of a library that cannot read a shard."""
    return named_damage(f"data_dir is {str(folder)!r}, where a shard cannot be read", "replace it, or take it out")
