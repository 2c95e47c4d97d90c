"""The tags of an image as a row: one schema for all outputs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sct_hf.inference.tagger import Tags

SCHEMA_VERSION = 1
BOX = ("xmin", "ymin", "xmax", "ymax")
"""Fields of a box, in pixels of the upright image."""

_MARKS = ("seen", "unsure")


@dataclass(frozen=True)
class Columns:
    """The columns of rows beside `path`, `labels`, `scores` and `error`.

    Attributes:
        seen: Whether rows have `seen`, for each label whether the model was trained on it.
        unsure: Whether rows have `unsure`, for each label whether it is near its threshold.
        boxes: Whether rows have `boxes`, for each label its box.
    """

    seen: bool = False
    unsure: bool = False
    boxes: bool = False

    @classmethod
    def of(cls, result: Tags) -> "Columns":
        """The columns that a result has. All results of one call of `Tagger.tag` have the same."""
        return cls(*(getattr(result, name) is not None for name in ("seen", "unsure", "boxes")))

    @property
    def marks(self) -> list[str]:
        """Names of the columns of True or False."""
        return [name for name in _MARKS if getattr(self, name)]

    def schema(self) -> Any:
        """The rows' `pyarrow.Schema`."""
        import pyarrow

        box = pyarrow.struct([(name, pyarrow.int32()) for name in BOX])
        types = {"labels": pyarrow.string(), "scores": pyarrow.float32()}
        types |= dict.fromkeys(self.marks, pyarrow.bool_()) | ({"boxes": box} if self.boxes else {})
        lists = [(name, pyarrow.list_(each)) for name, each in types.items()]
        return pyarrow.schema([("path", pyarrow.string()), *lists, ("error", pyarrow.string())])


def row_of(result: Tags) -> dict[str, Any]:
    """The row of an image, as plain Python values.

    Returns:
        `path`, the image's name; `labels` and `scores`, lists by falling score; `seen`, `unsure` and `boxes`, lists in
        the order of `labels`, where the result has them; `error`, None on success.
    """
    labels = [label for label, _ in result.tags]
    row: dict[str, Any] = {"path": result.name, "labels": labels, "scores": [score for _, score in result.tags]}
    for name in (*_MARKS, "boxes"):
        by_label = getattr(result, name)
        if by_label is not None:
            row[name] = [by_label[label] for label in labels]
    return row | {"error": result.error}


def tags_of(row: dict[str, Any]) -> Tags:
    """The result that a row says, without maps: what `row_of` makes a row of. The name is taken as the path."""
    labels = row["labels"]
    by_label = {
        name: dict(zip(labels, row[name], strict=True)) for name in (*_MARKS, "boxes") if row.get(name) is not None
    }
    tags = list(zip(labels, row["scores"], strict=True))
    return Tags(Path(row["path"]), tags, error=row["error"], name=row["path"], **by_label)
