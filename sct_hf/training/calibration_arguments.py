"""Options of fitting calibration and thresholds to a checkpoint, besides those of the data."""

from dataclasses import dataclass

from sct_hf.decisions import DEFAULT_PROFILES, parse_profile
from sct_hf.options import SEED, CheckedOptions, option, require
from sct_hf.training.folds import FOLDS

_GROUP = "calibration"


@dataclass
class CalibrationArguments(CheckedOptions):
    """Which checkpoint to calibrate, and how."""

    model: str = option("", "Folder of a checkpoint, whose config.json is changed. Required.", group=_GROUP)
    profiles: list[str] = option(
        list(DEFAULT_PROFILES),
        "Profiles of thresholds to fit: balanced, precision=0.9, recall=0.9, fdr=0.1, and others like them.",
        group=_GROUP,
    )
    folds: int = option(
        FOLDS,
        "Without images: trains the head of a finished run again this many times, on all folds of its training images "
        "but one.",
        group=_GROUP,
        within="> 1",
    )
    batch_size: int = option(64, "Images per batch.", group=_GROUP, within="> 0")
    cpu_threads: int = option(0, "CPU threads; 0 takes all cores.", group=_GROUP, within=">= 0")
    seed: int = option(0, "Seed of the splits that choose the shrinkage.", group=_GROUP, within=SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.model), "model", self.model, "name the folder of a checkpoint")
        require(bool(self.profiles), "profiles", self.profiles, "name one or more")
        for name in self.profiles:
            parse_profile(name)
