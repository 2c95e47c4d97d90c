"""Options of scripts/evaluate.py, beside those of its images."""

from dataclasses import dataclass
from typing import Literal

from sct_hf.options import SEED, CheckedOptions, option, require

_GROUP = "scoring"


@dataclass
class ScoringArguments(CheckedOptions):
    """Which checkpoint is scored, and how."""

    model: str = option("", "Folder of a checkpoint, or its name on the Hub; needed.", group=_GROUP)
    label_encoder: str | None = option(
        None,
        "Text encoder of the unseen labels, where the checkpoint's own was a folder or a file.",
        group=_GROUP,
        unset="the checkpoint's",
    )
    output_dir: str = option(
        "outputs/evaluation",
        "Folder for metrics.json, per_label.csv and predictions.parquet.",
        group=_GROUP,
        folder=True,
    )
    batch_size: int = option(64, "Images in a batch, over all processes.", group=_GROUP, within="> 0")
    mixed_precision: Literal["no", "fp16", "bf16"] = option("no", "Number format of the forward pass.", group=_GROUP)
    cpu_threads: int = option(
        0, "Threads of each process on CPU; 0 shares all cores among the processes.", group=_GROUP, within=">= 0"
    )
    seed: int = option(0, "Seed of the draw of max_eval_samples, and of known labels.", group=_GROUP, within=SEED)
    known_shares: list[float] = option(
        [],
        "Score the rest of the labels where such shares of them are known, as in 0.25 0.5 0.75; none by default.",
        group=_GROUP,
        within="(0, 1)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.model), "model", self.model, "give the folder of a checkpoint, or its name on the Hub")
