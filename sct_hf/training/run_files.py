"""The files of a run's folder. This is the only place that names them."""

from enum import StrEnum
from typing import Literal, Self

Kind = Literal["model", "report", "more"]


class RunFile(StrEnum):
    """A file, or folder, of a run.

    Attributes:
        kind: "model" and "report" are in every finished run and required for publishing. "more" depends on options,
            or exists only during the run.
    """

    kind: Kind

    def __new__(cls, name: str, kind: Kind) -> Self:
        """Make a member, a string with its name."""
        member = str.__new__(cls, name)
        member._value_, member.kind = name, kind
        return member

    CONFIG = "config.json", "model"
    WEIGHTS = "model.safetensors", "model"
    PROCESSOR = "preprocessor_config.json", "model"
    METRICS = "metrics.json", "report"
    PER_LABEL = "per_label.csv", "report"
    PREDICTIONS = "predictions.parquet", "report"
    ARGUMENTS = "training_args.json", "report"
    HISTORY = "history.json", "more"
    HIERARCHY = "hierarchy.csv", "more"
    KNOWN_LABELS = "known_labels.npz", "more"
    BEST = "best.safetensors", "more"
    CURVES = "curves.png", "more"
    TAGS = "tags.png", "more"
    LABELS = "labels.png", "more"
    REPORT = "report.html", "more"
    LOGS = "logs", "more"
    TRAINED_ON = "training_images.txt", "more"
    FOLDS = "folds", "more"
    OUT_OF_FOLD = "out_of_fold.parquet", "more"
    DECISIONS = "decisions.json", "more"
    RELIABILITY = "reliability.png", "more"

    @classmethod
    def of_kind(cls, *kinds: Kind) -> list["RunFile"]:
        """The files of these kinds."""
        return [one for one in cls if one.kind in kinds]
