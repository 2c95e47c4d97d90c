"""Options of evaluation, besides those of the data."""

from dataclasses import dataclass
from typing import Literal

from sct_hf.options import SEED, CheckedOptions, option, require

_GROUP = "scoring"


@dataclass
class ScoringArguments(CheckedOptions):
    """Which checkpoint to score, and how."""

    model: str = option("", "Checkpoint to score: a folder or a name on the Hub. Required.", group=_GROUP)
    label_encoder: str | None = option(
        None,
        "Text encoder of the unseen labels; needed if the checkpoint's own was a folder or a file.",
        group=_GROUP,
        unset="the checkpoint's",
    )
    output_dir: str = option(
        "outputs/evaluation",
        "Folder for metrics.json, per_label.csv, predictions.parquet and report.html.",
        group=_GROUP,
        folder=True,
    )
    batch_size: int = option(64, "Images per batch, over all processes.", group=_GROUP, within="> 0")
    mixed_precision: Literal["no", "fp16", "bf16"] = option(
        "no", "Number format of the forward pass; no means float32.", group=_GROUP
    )
    cpu_threads: int = option(
        0, "CPU threads of each process; 0 divides all cores among the processes.", group=_GROUP, within=">= 0"
    )
    seed: int = option(0, "Seed that draws max_eval_samples and known labels.", group=_GROUP, within=SEED)
    known_shares: list[float] = option(
        [],
        "Tell the model these shares of the labels, such as 0.25 0.5 0.75, and score the others.",
        group=_GROUP,
        within="(0, 1)",
    )
    localisation: bool = option(
        False,
        "Also measure where the labels' maps point: pointing game, energy, MaxBoxAccV2, CorLoc. Needs boxes.",
        group=_GROUP,
    )
    cam_checkpoint: str | None = option(
        None,
        "Checkpoint with a linear head whose class activation maps localisation measures beside the model's.",
        group=_GROUP,
        unset="none",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.model), "model", self.model, "give the folder of a checkpoint, or its name on the Hub")
        asked = self.localisation or self.cam_checkpoint is None
        require(asked, "cam_checkpoint", self.cam_checkpoint, "give --localisation true with it, or leave it out")
