"""How a model is trained: schedule, optimizer, records."""

from dataclasses import dataclass
from typing import Literal

from sct_hf.options import SEED, CheckedOptions, option, require
from sct_hf.training.devices import native_format

_TRAINING, _RECORDS, _FROZEN = "training", "output", "frozen backbone"


@dataclass
class TrainArguments(CheckedOptions):
    """How a model is trained."""

    output_dir: str = option(
        "outputs/run", "Folder of the run.", group=_RECORDS, identity=False, card="never", folder=True
    )
    overwrite_output_dir: bool = option(
        False,
        "Replace another run in the output folder.",
        group=_RECORDS,
        identity=False,
        card="never",
        recorded=False,
    )
    resume: bool = option(
        False,
        "Continue the run from its newest checkpoint.",
        group=_RECORDS,
        identity=False,
        card="never",
        recorded=False,
    )
    epochs: int = option(60, "Passes over the training images.", group=_TRAINING, within="> 0", card="never")
    batch_size: int = option(64, "Images per batch, over all processes.", group=_TRAINING, within="> 0", card="always")
    gradient_accumulation: int = option(1, "Batches per optimizer step.", group=_TRAINING, within="> 0", card="always")
    learning_rate: float = option(
        1e-4, "Peak learning rate of the one-cycle schedule.", group=_TRAINING, within="> 0", card="always"
    )
    backbone_learning_rate: float | None = option(
        None, "Peak learning rate of the backbone.", group=_TRAINING, unset="the same as the head's", within="> 0"
    )
    weight_decay: float = option(
        1e-4, "Weight decay of AdamW; norms and biases are exempt.", group=_TRAINING, within=">= 0", card="always"
    )
    pct_start: float = option(
        0.2, "Share of the steps with a rising learning rate.", group=_TRAINING, within="(0, 1)", card="never"
    )
    max_grad_norm: float = option(
        0.0,
        "Clip gradients to this norm; 0 turns clipping off.",
        group=_TRAINING,
        within=">= 0",
        card="never",
    )
    ema_decay: float = option(
        0.9997,
        "Decay of the averaged weights; 0 turns averaging off.",
        group=_TRAINING,
        within="[0, 1)",
        card="always",
    )
    ema_warmup: bool = option(True, "Average over fewer steps early in training.", group=_TRAINING, card="never")
    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = option(
        "auto",
        "Number format of the forward pass: no is float32; auto is bf16 where this machine computes in it, else no.",
        group=_TRAINING,
        card="always",
    )
    seed: int = option(0, "Seed of all random choices.", group=_TRAINING, card="never", within=SEED)
    freeze_backbone: bool = option(False, "Train the head only.", group=_FROZEN, card="always")
    freeze_stages: int = option(
        0,
        "Freeze this many of the backbone's first stages, counted as in timm.",
        group=_FROZEN,
        within=">= 0",
    )
    freeze_batch_norm: bool = option(
        False, "Freeze the batch-norm statistics of the backbone.", group=_FROZEN, card="never"
    )
    cache_features: bool = option(
        False,
        "Compute the feature maps of a frozen backbone once. Fixed views replace random augmentation.",
        group=_FROZEN,
        card="never",
    )
    cache_dir: str | None = option(
        None,
        "Folder for the cached feature maps.",
        group=_FROZEN,
        identity=False,
        card="never",
        unset="the user's cache folder",
        folder=True,
    )
    cached_views: int = option(
        4, "Augmented views of each training image in the cache.", group=_FROZEN, within="> 0", card="never"
    )
    calibration_folds: int = option(
        0,
        "Fit calibration and thresholds at the end, on out-of-fold scores of training images. It trains the head this "
        "many times more, each time on all folds but one, and needs cache_features; 0 leaves it out.",
        group=_FROZEN,
        card="never",
        within=">= 0",
    )
    channels_last: bool = option(
        True, "Run the backbone in the channels-last memory format.", group=_TRAINING, card="never"
    )
    cpu_threads: int = option(
        0,
        "CPU threads of each process; 0 divides all cores among the processes.",
        group=_TRAINING,
        identity=False,
        card="never",
        within=">= 0",
    )
    save_dtype: Literal["float32", "float16", "bfloat16"] = option(
        "float32",
        "Number format of the saved weight matrices and kernels; the model computes in float32.",
        group=_RECORDS,
        card="never",
    )
    figures: bool = option(
        True,
        "Write report.html and figures, such as curves.png and tags.png.",
        group=_RECORDS,
        identity=False,
        card="never",
    )
    report_to: str = option(
        "tensorboard",
        "Trackers separated by commas: tensorboard, wandb, …, or none.",
        group=_RECORDS,
        identity=False,
        card="never",
    )
    checkpoint_every: int = option(
        0,
        "Optimizer steps between checkpoints; 0 saves at the end of each epoch only.",
        group=_RECORDS,
        identity=False,
        card="never",
        within=">= 0",
    )
    log_every: int = option(
        20,
        "Optimizer steps between reports to the trackers.",
        group=_RECORDS,
        identity=False,
        card="never",
        within="> 0",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cache_features:
            require(self.freeze_backbone, "cache_features", True, "it needs --freeze_backbone as well")
        usable = self.calibration_folds == 0 or (self.calibration_folds > 1 and self.cache_features)
        remedy = "give 2 or more, with --cache_features; sct-hf calibrate fits on images of their own"
        require(usable, "calibration_folds", self.calibration_folds, remedy)
        if self.mixed_precision == "auto":
            self.mixed_precision = native_format()

    @property
    def trackers(self) -> list[str]:
        """Names of the trackers, without none."""
        return [name.strip() for name in self.report_to.split(",") if name.strip() not in ("", "none")]
