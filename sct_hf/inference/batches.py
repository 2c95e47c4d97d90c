"""Tagging as a function on tables of images, for engines that call one: Ray Data, Spark, Daft."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from sct_hf.errors import InputError
from sct_hf.inference.items import Item
from sct_hf.inference.rows import Columns, row_of
from sct_hf.inference.tagger import Tagger
from sct_hf.own_checkpoint import given_or_own

Table = TypeVar("Table", bound=Any)

_ON_CPU, _ON_ACCELERATOR = 16, 256  # images per batch; of an accelerator's, halved until they fit


class BatchTagger:
    """A function from tables of images to tables of tags. It loads the model once, where it is made.

    An engine makes one in each of its workers and sends it encoded images. They are decoded where the model is: a
    decoded image is about ten times as large.

    Args:
        model: A folder of training, a name on the Hub, or a tagger; None for the checkpoint in the package.
        device: Such as "cpu" or "cuda:1"; by default the machine's accelerator, if it has one.
        batch_size: Images in one run of the model. By default 16 on a CPU; on an accelerator 256, halved as often as
            its memory does not suffice.
        name_column: Column with the images' names.
        image_column: Column with their encoded bytes, such as whole JPEG files.
        **options: Options of `Tagger.tag`, such as `threshold`, `profile` or `top_k`.

    Raises:
        InputError: The model or an option cannot be used.
    """

    def __init__(
        self,
        model: str | Path | Tagger | None = None,
        device: str | None = None,
        batch_size: int | None = None,
        *,
        name_column: str = "path",
        image_column: str = "bytes",
        **options: Any,
    ) -> None:
        if not isinstance(model, Tagger):
            model = Tagger.from_pretrained(given_or_own(model), device)
        self.tagger = model
        on_cpu = self.tagger.model.device.type == "cpu"
        self.batch_size = batch_size or (_ON_CPU if on_cpu else _ON_ACCELERATOR)
        self.name_column, self.image_column, self.options = name_column, image_column, options
        next(self.tagger.tag([], batch_size=self.batch_size, **options), None)  # checks the options
        self.schema = Columns(
            seen=self.tagger.pipeline.marks_seen(options.get("labels")),
            unsure=options.get("abstain") is not None,
            boxes=bool(options.get("maps")),
        ).schema()

    def __call__(self, table: Table) -> Table:
        """Tag the images of a table.

        Args:
            table: A `pyarrow.Table` or `pyarrow.RecordBatch` with the columns of names and images.

        Returns:
            One row for each image, in order, with the columns of `sct_hf.inference.rows`: `path`, `labels`, `scores`
            and `error`, and `seen`, `unsure` and `boxes` where an option asks for them.

        Raises:
            InputError: A column is missing.
        """
        for column in (self.name_column, self.image_column):
            if column not in table.schema.names:
                given = ", ".join(table.schema.names)
                raise InputError(
                    f"table has no column {column!r}, only {given}: name it by name_column or image_column"
                )
        names, images = (table[column].to_pylist() for column in (self.name_column, self.image_column))
        items = [
            Item(str(name), image, None if image is not None else "no image")
            for name, image in zip(names, images, strict=True)
        ]
        return type(table).from_pylist(self.rows(items), schema=self.schema)

    def rows(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """The rows of items. Where memory does not suffice for a batch, all are tagged again in smaller ones."""
        from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

        while True:
            try:
                found = self.tagger.tag(items, batch_size=self.batch_size, **self.options)
                return [row_of(result) for result in found]
            except InputError as error:
                cause = error.__cause__
                if self.batch_size == 1 or not isinstance(cause, Exception) or not should_reduce_batch_size(cause):
                    raise
            self.batch_size //= 2
            clear_device_cache(garbage_collection=True)
