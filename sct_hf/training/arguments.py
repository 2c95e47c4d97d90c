"""What a training run can be told: fields and their defaults."""

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sct_hf.data.label_splits import SPLITS
from sct_hf.errors import InputError
from sct_hf.metrics.frequency import frequency_limits
from sct_hf.peers.registry import HEADS, make_head

HELD_OUT = "held_out"


def _option(default: Any, description: str) -> Any:
    return field(default=default, metadata={"help": description.replace("%", "%%")})


def _require(holds: bool, name: str, value: object, remedy: str) -> None:
    if not holds:
        raise InputError(f"{name} is {value!r}: {remedy}")


@dataclass
class EvaluationDataArguments:
    """Which images are scored."""

    dataset: str = _option("scenes", "Data set by name, such as voc2007, coco, csv, or one of the Hub.")
    data_dir: str | None = _option(None, "Folder that holds the data set.")
    eval_split: str = _option("test", "Split that is scored.")
    eval_file: str | None = _option(None, "Table or export that lists the scored images, for csv, jsonl, cvat, ….")
    image_column: str | None = _option(None, "Column of the images, for tables and Hub data sets.")
    label_column: str | None = _option(None, "Column of the labels, for tables and Hub data sets.")
    labels_file: str | None = _option(None, "Text file with all labels, one a line; a label not in it is an error.")
    skip_missing_images: bool = _option(False, "Leave out listed images that are missing or broken.")
    max_eval_samples: int = _option(0, "Score this many images drawn at random; 0 for all.")
    unseen_labels: str | None = _option(
        None,
        "Labels that are not trained on and scored by their text alone: with commas between them, a text file with "
        f"one a line, or {', '.join(SPLITS)}. For --scorer label; other models are trained and scored without them.",
    )
    num_workers: int = _option(2, "Processes that read images.")

    def __post_init__(self) -> None:
        for name in ("max_eval_samples", "num_workers"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "give a number >= 0")


@dataclass
class ScoringArguments:
    """Which checkpoint is scored, and how."""

    model: str = _option("", "Folder of a checkpoint, or its name on the Hub.")
    label_encoder: str | None = _option(
        None, "Text encoder of the unseen labels, where the checkpoint's own was a folder or a file."
    )
    output_dir: str = _option("outputs/evaluation", "Folder for metrics.json, per_label.csv and predictions.parquet.")
    batch_size: int = _option(64, "Images in a batch, over all processes.")
    mixed_precision: Literal["no", "fp16", "bf16"] = _option("no", "Number format of the forward pass.")
    cpu_threads: int = _option(0, "Threads of each process on CPU; 0 shares all cores among the processes.")
    seed: int = _option(0, "Seed of the draw of max_eval_samples, and of known labels.")
    known_shares: list[float] = field(
        default_factory=list,
        metadata={"help": "Score the rest of the labels where such shares of them are known, as in 0.25 0.5 0.75."},
    )

    def __post_init__(self) -> None:
        _require(bool(self.model), "model", self.model, "give the folder of a checkpoint, or its name on the Hub")
        _require(self.batch_size > 0, "batch_size", self.batch_size, "give a number > 0")
        _require(self.cpu_threads >= 0, "cpu_threads", self.cpu_threads, "give a number >= 0")
        fine = all(0 < share < 1 for share in self.known_shares)
        _require(fine, "known_shares", self.known_shares, "give fractions between 0 and 1")


@dataclass
class DataArguments(EvaluationDataArguments):
    """Which images a model is trained on, selected by and scored on."""

    train_split: str = _option("train", "Split to train on.")
    train_file: str | None = _option(None, "Table or export that lists the training images, likewise.")
    check_data: bool = _option(True, "Check your own files, and look for equal images in them, before training.")
    allow_unlabelled: bool = _option(False, "Images without any label are meant to be so; else they are an error.")
    train_size: int = _option(0, "Images to render for the training split of scenes; 0 for its default.")
    difficult_in_training: Literal["negative", "ignore"] = _option(
        "negative", "What a label with difficult objects only counts as in training."
    )
    hierarchy: str | None = field(
        default=None,
        metadata={
            "help": "Parents of the labels: a CSV file of child,parent rows, wordnet (or wordnet:LEXICON), or voc. "
            "Those that are no labels of the data set are added to them."
        },
    )
    holdout: float = _option(
        0.1,
        "Share of the training split that selects the model; 0 keeps the last epoch. With --eval_split held_out it is "
        "scored instead of an evaluation split, once, and selects nothing.",
    )
    holdout_seed: int | None = _option(None, "Seed of that part; the seed of training if not given.")
    holdout_stratified: bool = _option(
        False, "Hold out a part in which labels are as frequent as in the rest; pip install sct_hf[stratified]."
    )
    known_proportion: float = _option(
        1.0, "Probability that an entry, an image's label, stays known in training; the held-out part stays whole."
    )
    single_positive: bool = _option(False, "Keep known, of each training image, one label that is present, alone.")
    mask_seed: int | None = _option(None, "Seed of what stays known; the seed of training if not given.")
    max_train_samples: int = _option(0, "Use this many training images drawn at random; 0 for all.")
    unseen_images: Literal["keep", "drop"] = _option(
        "keep",
        "Whether training keeps images that show an unseen label, without it, or drops them, as the COCO 48/17 "
        "protocol does.",
    )
    shots: int = _option(0, "Train on this many images a label, drawn by seed; 0 for all.")
    draw_from_rest: bool = _option(
        False,
        "Hold out, and cache, of the whole split, and draw max_train_samples from the rest: runs on other draws share "
        "both.",
    )
    flip: bool = _option(True, "Augment by mirroring.")
    cutout: bool = _option(True, "Augment by one box in a random colour.")
    rand_augment: bool = _option(True, "Augment by RandAugment.")
    collage: float = _option(0.0, "Share of the batches whose images are joined in pairs, with the labels of both.")
    resampling: Literal["none", "repeat_factor", "class_aware"] = _option(
        "none", "Show images of rare labels more often, in epochs of the same length."
    )
    repeat_threshold: float = _option(
        0.1, "Share of the images below which repeat_factor counts a label as rare; 0.001 in LVIS."
    )
    frequency_groups: str | None = _option(
        None,
        "Report mAP of rare, common and frequent labels apart: lvis (up to 10, up to 100 and more training "
        "positives), thirds of the labels, or two numbers such as 10,100.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        alone = self.hierarchy is None or self.unseen_labels is None
        _require(alone, "unseen_labels", self.unseen_labels, "parents tell of those below them; leave out --hierarchy")
        _require(0 <= self.holdout < 1, "holdout", self.holdout, "give a fraction in [0, 1)")
        _require(0 <= self.collage <= 1, "collage", self.collage, "give a fraction in [0, 1]")
        scored = self.eval_split != HELD_OUT or self.holdout > 0
        _require(scored, "eval_split", self.eval_split, "it needs --holdout above 0")
        _require(0 < self.known_proportion <= 1, "known_proportion", self.known_proportion, "give one in (0, 1]")
        alone = not self.single_positive or self.known_proportion == 1
        _require(alone, "known_proportion", self.known_proportion, "leave it out, or single_positive")
        for name in ("max_train_samples", "train_size", "shots"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "give a number >= 0")
        share = self.repeat_threshold
        _require(0 < share <= 1, "repeat_threshold", share, "give a fraction above 0, up to 1")
        if self.frequency_groups is not None:
            frequency_limits(self.frequency_groups, np.zeros(1))

    @property
    def hides_labels(self) -> bool:
        """Whether labels that are known are hidden from training."""
        return self.single_positive or self.known_proportion < 1


@dataclass
class ModelArguments:
    """Which model is trained. Fields that default to None leave the choice to the model's configuration."""

    head: str = _option("sct", f"Head on the backbone: sct, {', '.join(HEADS)}.")
    compare_head: str = _option("none", f"Head to train afterwards on the same data: none, {', '.join(HEADS)}.")
    head_kwargs: str | None = field(
        default=None,
        metadata={"help": "Arguments of the peer head as a JSON object; of --compare_head where --head is sct."},
    )
    backbone: str = _option("resnet101", "Any timm model with a feature map or tokens.")
    backbone_weights: str = _option("pretrained", "none, pretrained (timm's own), package, or a weights file.")
    init_checkpoint: str | None = field(
        default=None, metadata={"help": "Checkpoint, by folder or Hub name, whose weights training starts from."}
    )
    image_size: list[int] = field(
        default_factory=lambda: [448], metadata={"help": "Side of the square input in pixels, or height and width."}
    )
    hidden_size: int = _option(0, "Width to which regions are projected; 0 keeps the backbone's.")
    projection_norm: bool | None = _option(None, "Layer norm of the regions after that projection.")
    input_dropout: float | None = _option(None, "Dropout of the backbone's features.")
    label_encoder: str = _option("bert-base-uncased", "Text encoder of the label names.")
    label_template: str = _option("{}", "Prompt around each label name.")
    normalize_label_embeddings: bool | None = _option(None, "Divide each label embedding by its root mean square.")
    encoder_layers: int | None = _option(None, "Transformer layers over the regions.")
    encoder_attention_heads: int | None = _option(None, "Attention heads of each layer.")
    encoder_ffn_dim: int | None = _option(None, "Width of each layer's feed-forward block.")
    dropout: float | None = _option(None, "Dropout of the transformer layers.")
    label_interaction: bool | None = _option(None, "Self-attention over the label features.")
    label_states: bool | None = _option(None, "Known labels may be given, and are drawn in training, of sct.")
    known_share_max: float | None = _option(None, "Largest share of an image's labels that is so drawn.")
    label_graph: bool | None = _option(
        None, "Messages between the label features, along how often labels are seen together in training."
    )
    label_prototypes: bool | None = _option(
        None, "Use prototypes of the labels, made by the backbone's ImageNet classifier; by default where it has one."
    )
    prototype_scale: float | None = _option(None, "Weight of the prototypes' scores in the semantic map.")
    prototype_temperature: float | None = _option(None, "Temperature of the plan of the prototypes.")
    prototype_pooling: float | None = _option(None, "Share of that plan in pooling over regions.")
    familiarity_threshold: float | None = _option(
        None, "Likeness to a trained label from which what was learned joins in the score of a new one."
    )
    map_input: str | None = _option(None, "What the semantic map looks at: features or context.")
    map_pooling: str | None = _option(None, "How the semantic map is pooled: mean or max.")
    fuse_map_scores: bool | None = _option(None, "Average the pooled semantic map with a label's other logits.")
    label_pooling: bool | None = _option(None, "Score labels by what the backward plans bring them as well.")
    aligned_features: bool | None = _option(None, "Join regions with the label features that transport brings them.")
    aligned_dropout: float | None = _option(None, "Share of images that do without those in training.")
    guidance: str | None = _option(None, "How the semantic map guides transport: prior, detached or none.")
    temperature: float | None = _option(None, "Initial temperature of the transport plans.")
    learn_temperature: bool | None = _option(None, "Train the temperature.")
    rho: float | None = _option(None, "Share of the region to label direction in the transport cost.")
    scorer: str | None = _option(None, "linear, or label: by the labels' text, for any number of labels.")
    scorer_dropout: float | None = _option(None, "Dropout before the region scores.")
    semantic_loss_weight: float | None = _option(None, "Weight of the semantic map's classification loss.")
    transport_loss_weight: float | None = _option(None, "Weight of the transport cost, of sct and patchct.")
    contrast_loss_weight: float | None = _option(None, "Weight of the contrast between the labels of a batch, of sct.")
    contrast_temperature: float | None = _option(None, "Temperature of that contrast.")
    erasing_loss_weight: float | None = _option(
        None, "Weight of the loss of images without the regions that one of their labels is seen by, of sct."
    )
    erasing_share: float | None = _option(None, "Share of the regions that are erased.")
    gamma_neg: float | None = _option(None, "Focusing exponent of the loss for absent labels.")
    gamma_pos: float | None = _option(None, "Focusing exponent of the loss for present labels.")
    clip: float | None = _option(None, "Probability under which an absent label costs nothing.")
    hierarchy_loss_weight: float | None = _option(None, "Weight of the loss of scores that agree with --hierarchy.")

    def __post_init__(self) -> None:
        for name, other in (("head", "sct"), ("compare_head", "none")):
            value, choices = getattr(self, name), (other, *HEADS)
            _require(value in choices, name, value, f"choose one of {', '.join(choices)}")
        alone = self.init_checkpoint is None or self.compare_head == "none"
        _require(alone, "init_checkpoint", self.init_checkpoint, "it fits one head only; leave out --compare_head")
        sides = self.image_size
        _require(len(sides) in (1, 2) and min(sides) > 0, "image_size", sides, "give one side, or height and width")
        _require(self.hidden_size >= 0, "hidden_size", self.hidden_size, "give a number >= 0")
        if self.head_kwargs is not None:
            self._check_head_kwargs(self.head_kwargs)

    def _check_head_kwargs(self, text: str) -> None:
        """Try them on the peer head, without weights, so that a wrong one ends the run before it starts."""
        peer = self.compare_head if self.head == "sct" else self.head
        _require(peer != "none", "head_kwargs", text, "it is for a peer head; choose one by --head")
        try:
            with torch.device("meta"):
                make_head(peer, 64, 2, 64, json.loads(text))
        except json.JSONDecodeError as error:
            example = """'{"hidden_size": 256}'"""
            raise InputError(f"head_kwargs is {text!r}: write a JSON object, such as {example} ({error})") from error
        except ValueError as error:
            raise InputError(str(error)) from error

    @property
    def input_size(self) -> int | list[int]:
        """The side of the square input in pixels, or [height, width]."""
        return self.image_size[0] if len(self.image_size) == 1 else self.image_size

    def config_options(self, head: str) -> dict[str, Any]:
        """Return what goes into the configuration of a model with `head`: every option of it that is set."""
        others = ("init_checkpoint", "head_kwargs", "label_prototypes")
        names = [option.name for option in fields(self) if option.default is None and option.name not in others]
        if head != "sct":
            names = ["gamma_neg", "gamma_pos", "clip", "transport_loss_weight", "hierarchy_loss_weight"]
        options = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if head == "sct" and self.hidden_size:
            options["hidden_size"] = self.hidden_size
        if head != "sct" and self.head_kwargs is not None:
            options["head_kwargs"] = json.loads(self.head_kwargs)
        return options


@dataclass
class TrainArguments:
    """How a model is trained."""

    output_dir: str = _option("outputs/run", "Folder of the run.")
    overwrite_output_dir: bool = _option(False, "Start anew where another run lies.")
    resume: bool = _option(False, "Go on from the newest checkpoint of the same run.")
    epochs: int = _option(60, "Passes over the training images.")
    batch_size: int = _option(64, "Images in a batch, over all processes.")
    unknown_labels: Literal["ignore", "negative", "recover", "blend"] = _option(
        "ignore",
        "Unknown labels in training: left out of the losses, taken as absent, recovered by the averaged model, or "
        "recovered and blended with known ones of other images and with prototypes.",
    )
    recovery_weight: float = _option(1.0, "Weight of the loss on recovered labels.")
    recovery_temperature: float = _option(
        0.5, "Divides the logits that recovered labels are made of; below 1, labels are nearer to 0 and 1."
    )
    recovery_warmup: float = _option(0.25, "Share of the steps in which that weight rises from 0.")
    gradient_accumulation: int = _option(1, "Batches to one optimizer step.")
    learning_rate: float = _option(1e-4, "Peak of the one-cycle schedule.")
    backbone_learning_rate: float | None = _option(None, "Peak for the backbone; the same as the head's if not given.")
    weight_decay: float = _option(1e-4, "AdamW's decay of weights; norms and biases have none.")
    pct_start: float = _option(0.2, "Share of the steps in which the learning rate rises.")
    positive_weights: str | None = _option(
        None, "Weight of each label's positives in the loss: auto, sqrt, or a CSV file with the columns label, weight."
    )
    label_gammas: str | None = _option(
        None, "Focusing exponents of each label: auto, or a CSV file with label, and gamma_neg or gamma_pos."
    )
    logit_adjustment: float | None = _option(
        None, "Add so many times each label's log-odds in training to the logits of the loss."
    )
    max_grad_norm: float = _option(0.0, "Gradients are clipped to this norm; 0 for no clipping.")
    ema_decay: float = _option(0.9997, "Decay of the averaged weights; 0 for no averaging.")
    ema_warmup: bool = _option(True, "Average over fewer steps at first.")
    mixed_precision: Literal["no", "fp16", "bf16"] = _option("no", "Number format of the forward pass.")
    seed: int = _option(0, "Seed of everything that is random.")
    freeze_backbone: bool = _option(False, "Train the head only.")
    freeze_stages: int = _option(
        0, "Train the backbone without its first stages, so many of them as timm counts them."
    )
    freeze_batch_norm: bool = _option(False, "Keep the statistics of the backbone's batch norms.")
    cache_features: bool = _option(
        False, "Compute the maps of a frozen backbone once; fixed views replace flip, cutout and RandAugment."
    )
    cache_dir: str | None = _option(None, "Folder of the cached maps; the user's cache folder if not given.")
    cached_views: int = _option(4, "Views of each training image in the cache.")
    channels_last: bool = _option(True, "Memory format of the backbone.")
    cpu_threads: int = _option(0, "Threads of each process on CPU; 0 shares all cores among the processes.")
    save_dtype: Literal["float32", "float16", "bfloat16"] = _option(
        "float32", "Number format of matrices and kernels in the saved file; the model computes in float32."
    )
    figures: bool = _option(True, "Draw curves.png and tags.png.")
    report_to: str = _option("tensorboard", "Trackers, comma-separated: tensorboard, wandb, ..., or none.")
    checkpoint_every: int = _option(0, "Optimizer steps between checkpoints; 0 for the ends of epochs alone.")
    keep_checkpoints: int = _option(1, "Newest checkpoints to keep.")
    log_every: int = _option(20, "Optimizer steps between reports to the trackers.")

    def __post_init__(self) -> None:
        positive = (
            "epochs",
            "batch_size",
            "gradient_accumulation",
            "learning_rate",
            "cached_views",
            "recovery_temperature",
        )
        for name in (*positive, "keep_checkpoints", "log_every"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "give a number > 0")
        adjustment = self.logit_adjustment
        _require(adjustment is None or adjustment >= 0, "logit_adjustment", adjustment, "give a number >= 0")
        counts = ("max_grad_norm", "checkpoint_every", "cpu_threads", "freeze_stages")
        for name in ("recovery_weight", "weight_decay", *counts):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "give a number >= 0")
        _require(0 < self.pct_start < 1, "pct_start", self.pct_start, "give a fraction between 0 and 1")
        _require(0 <= self.recovery_warmup <= 1, "recovery_warmup", self.recovery_warmup, "give a fraction in [0, 1]")
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "give a number in [0, 1)")
        if self.cache_features:
            _require(self.freeze_backbone, "cache_features", True, "it needs --freeze_backbone as well")

    @property
    def trackers(self) -> list[str]:
        """Names of the trackers to report to."""
        return [name.strip() for name in self.report_to.split(",") if name.strip() not in ("", "none")]


@dataclass(frozen=True)
class Arguments:
    """All arguments of a run."""

    data: DataArguments
    model: ModelArguments
    train: TrainArguments

    def __post_init__(self) -> None:
        source, target = self.model.init_checkpoint, Path(self.train.output_dir).resolve()
        apart = source is None or not Path(source).resolve().is_relative_to(target)
        _require(apart, "output_dir", self.train.output_dir, "it holds init_checkpoint; choose another folder")
        weight = self.model.hierarchy_loss_weight
        _require(
            not weight or self.data.hierarchy is not None, "hierarchy_loss_weight", weight, "it needs --hierarchy"
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return asdict(self.data) | asdict(self.model) | asdict(self.train)

    def command(self) -> list[str]:
        """The words of a command line that asks for the same, into a new folder, without a recipe."""
        words = ["accelerate", "launch", "scripts/train.py", f"--dataset={self.data.dataset}"]
        defaults = option_defaults()
        for part in (self.data, self.model, self.train):
            for option in fields(part):
                value = getattr(part, option.name)
                if value == defaults[option.name] or option.name in ("dataset", "resume", "overwrite_output_dir"):
                    continue
                if isinstance(value, list):
                    words += [f"--{option.name}", *map(str, value)]
                else:
                    words.append(f"--{option.name}={value}")
        return words


def option_defaults() -> dict[str, Any]:
    """The default of every option, by its name."""
    return {
        option.name: option.default if option.default_factory is MISSING else option.default_factory()
        for part in (DataArguments, ModelArguments, TrainArguments)
        for option in fields(part)
    }
