"""Which images are read: options of evaluation and, on top, of training."""

from dataclasses import dataclass
from typing import Literal, get_type_hints

import numpy as np

from sct_hf.data.label_splits import SPLITS
from sct_hf.metrics.frequency import frequency_limits
from sct_hf.options import SEED, CheckedOptions, choices_of, option, require

HELD_OUT = "held_out"
NO_AUGMENTATION = "none"
_DATA, _IMAGES, _LABELS, _AUGMENTATION = "data", "which images", "which labels", "augmentation and sampling"


@dataclass
class EvaluationDataArguments(CheckedOptions):
    """Which images are scored."""

    dataset: str = option(
        "scenes", "Data set by name, such as voc2007, coco, csv, or one of the Hub.", group=_DATA, card="never"
    )
    data_dir: str | None = option(
        None, "Folder that holds the data set.", group=_DATA, card="never", unset="the data set's usual one"
    )
    eval_split: str = option("test", "Split that is scored.", group=_DATA, card="never")
    eval_file: str | None = option(
        None,
        "Table or export that lists the scored images, for csv, jsonl, cvat, ….",
        group=_DATA,
        file=True,
        card="never",
        unset="found by the split's name",
    )
    image_column: str | None = option(
        None, "Column of the images, for tables and Hub data sets.", group=_DATA, card="never", unset="found by name"
    )
    label_column: str | None = option(
        None, "Column of the labels, for tables and Hub data sets.", group=_DATA, card="never", unset="found by name"
    )
    separator: Literal["auto", "comma", "pipe", "semicolon", "space", "none"] = option(
        "auto",
        "Separator of the labels in a cell. auto: any of | ; or comma. none: a cell is one label.",
        group=_DATA,
        card="never",
    )
    labels_file: str | None = option(
        None,
        "Text file with all labels, one a line; a label not in it is an error.",
        group=_DATA,
        file=True,
        card="never",
        unset="the labels that are found",
    )
    skip_missing_images: bool = option(
        False, "Leave out listed images that are missing or broken.", group=_DATA, card="never"
    )
    max_eval_samples: int = option(
        0, "Score this many images drawn at random; 0 for all.", group=_IMAGES, within=">= 0", card="never"
    )
    unseen_labels: str | None = option(
        None,
        "Labels that are not trained on and scored by their text alone: with commas between them, a text file with "
        f"one a line, or {', '.join(SPLITS)}. For --scorer label; other models are trained and scored without them.",
        group=_LABELS,
        file=True,
        unset="none",
    )
    num_workers: int = option(
        2, "Processes that read images.", group=_DATA, within=">= 0", identity=False, card="never"
    )


@dataclass
class DataArguments(EvaluationDataArguments):
    """Which images a model is trained on, selected by and scored on."""

    train_split: str = option("train", "Split to train on.", group=_DATA, card="never")
    train_file: str | None = option(
        None,
        "Table or export that lists the training images, likewise.",
        group=_DATA,
        file=True,
        card="never",
        unset="found by the split's name",
    )
    check_data: bool = option(
        True,
        "Check labels, and look for equal images, before training.",
        group=_DATA,
        identity=False,
        card="never",
    )
    allow_unlabelled: bool = option(
        False,
        "Images without any label are meant to be so; else they are an error.",
        group=_DATA,
        identity=False,
        card="never",
    )
    train_size: int = option(
        0,
        "Images to render for the training split of scenes; 0 for its default.",
        group=_DATA,
        within=">= 0",
        card="never",
    )
    difficult_in_training: Literal["negative", "ignore"] = option(
        "negative", "What a label with difficult objects only counts as in training.", group=_LABELS
    )
    hierarchy: str | None = option(
        None,
        "Parents of the labels: a CSV file of child,parent rows, wordnet (or wordnet:LEXICON), or voc. Those that are "
        "no labels of the data set are added to them.",
        group=_LABELS,
        file=True,
        unset="none",
    )
    holdout: float = option(
        0.1,
        "Share of the training split that selects the model; 0 keeps the last epoch. With --eval_split held_out it is "
        "scored instead of an evaluation split, once, and selects nothing.",
        group=_IMAGES,
        within="[0, 1)",
        card="always",
    )
    holdout_seed: int | None = option(
        None, "Seed of that part.", group=_IMAGES, card="never", unset="the seed of training", within=SEED
    )
    holdout_stratified: bool = option(
        False,
        "Hold out a part in which labels are as frequent as in the rest; pip install sct_hf[stratified].",
        group=_IMAGES,
    )
    known_proportion: float = option(
        1.0,
        "Probability that an entry, an image's label, stays known in training; the held-out part stays complete.",
        group=_LABELS,
        within="(0, 1]",
    )
    single_positive: bool = option(
        False, "Keep known, of each training image, one label that is present, alone.", group=_LABELS
    )
    mask_seed: int | None = option(
        None, "Seed of what stays known.", group=_LABELS, unset="the seed of training", within=SEED
    )
    max_train_samples: int = option(
        0, "Use this many training images drawn at random; 0 for all.", group=_IMAGES, within=">= 0"
    )
    unseen_images: Literal["keep", "drop"] = option(
        "keep",
        "Whether training keeps images that show an unseen label, without it, or drops them, as the COCO 48/17 "
        "protocol does.",
        group=_LABELS,
    )
    shots: int = option(
        0, "Train on this many images a label, drawn by seed; 0 for all.", group=_IMAGES, within=">= 0"
    )
    draw_from_rest: bool = option(
        False,
        "Hold out, and cache, of the full split, and draw max_train_samples from the rest: runs on other draws share "
        "both.",
        group=_IMAGES,
        card="never",
    )
    augment: list[Literal["flip", "cutout", "rand_augment", "none"]] = option(
        ["flip", "cutout", "rand_augment"],
        "Changes of the training images, drawn for each: mirroring, one box in a random colour, RandAugment; or none.",
        group=_AUGMENTATION,
        card="always",
    )
    collage: float = option(
        0.0,
        "Share of the batches whose images are joined in pairs, with the labels of both.",
        group=_AUGMENTATION,
        within="[0, 1]",
    )
    resampling: Literal["none", "repeat_factor", "class_aware"] = option(
        "none", "Show images of rare labels more often, in epochs of the same length.", group=_AUGMENTATION
    )
    repeat_threshold: float = option(
        0.1,
        "Share of the images below which repeat_factor counts a label as rare; 0.001 in LVIS.",
        group=_AUGMENTATION,
        within="(0, 1]",
    )
    frequency_groups: str | None = option(
        None,
        "Report mAP of rare, common and frequent labels apart: lvis (up to 10, up to 100 and more training "
        "positives), thirds of the labels, or two numbers such as 10,100.",
        group=_LABELS,
        identity=False,
        card="never",
        unset="no groups",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        alone = self.hierarchy is None or self.unseen_labels is None
        require(alone, "unseen_labels", self.unseen_labels, "parents tell of those below them; leave out --hierarchy")
        scored = self.eval_split != HELD_OUT or self.holdout > 0
        require(scored, "eval_split", self.eval_split, "it needs --holdout above 0")
        alone = not self.single_positive or self.known_proportion == 1
        require(alone, "known_proportion", self.known_proportion, "leave it out, or single_positive")
        self.augment = list(dict.fromkeys(self.augment))
        alone = NO_AUGMENTATION not in self.augment or len(self.augment) == 1
        require(alone, "augment", self.augment, f"leave {NO_AUGMENTATION} out, or the others")
        if self.frequency_groups is not None:
            frequency_limits(self.frequency_groups, np.zeros(1))

    @property
    def augmentations(self) -> dict[str, bool]:
        """Each change of images by name, and whether it is made."""
        choices = choices_of(get_type_hints(type(self))["augment"])
        return {name: name in self.augment for name in choices if name != NO_AUGMENTATION}

    @property
    def hides_labels(self) -> bool:
        """Whether labels that are known are hidden from training."""
        return self.single_positive or self.known_proportion < 1
