"""Options of the data: those of evaluation, and those that training adds."""

from dataclasses import dataclass
from typing import Literal, get_type_hints

import numpy as np

from sct_hf.data.label_splits import SPLITS
from sct_hf.metrics.frequency import frequency_limits
from sct_hf.options import SEED, CheckedOptions, choices_of, option, require

HELD_OUT = "held_out"
HOLDOUT = 0.2
"""Share of the training images to hold out and score where there is no split to score."""

NO_AUGMENTATION = "none"
_DATA, _IMAGES, _LABELS, _AUGMENTATION = "data", "which images", "which labels", "augmentation and sampling"


@dataclass
class EvaluationDataArguments(CheckedOptions):
    """Which images are scored."""

    dataset: str = option(
        "scenes",
        "Format or data set: voc2007, coco, csv, …, or a data set on the Hub. Own images that a command starts with: "
        "the format that is recognised.",
        group=_DATA,
        card="never",
    )
    data_dir: str | None = option(
        None, "Folder of the data set.", group=_DATA, card="never", unset="the data set's usual one"
    )
    eval_split: str = option(
        "test", "Split to score. Own images: the one that is found, or held_out.", group=_DATA, card="never"
    )
    eval_file: str | None = option(
        None,
        "Table or export with the images to score, for csv, jsonl, cvat, ….",
        group=_DATA,
        file=True,
        card="never",
        unset="found by the split's name",
    )
    image_column: str | None = option(
        None, "Column with the images, in tables and Hub data sets.", group=_DATA, card="never", unset="found by name"
    )
    label_column: str | None = option(
        None, "Column with the labels, in tables and Hub data sets.", group=_DATA, card="never", unset="found by name"
    )
    separator: Literal["auto", "comma", "pipe", "semicolon", "space", "none"] = option(
        "auto",
        "Separator between labels in a cell. auto accepts | ; or comma; none reads the cell as one label.",
        group=_DATA,
        card="never",
    )
    labels_file: str | None = option(
        None,
        "Text file with all labels, one per line. Any other label in the data is an error.",
        group=_DATA,
        file=True,
        card="never",
        unset="the labels found in the data",
    )
    skip_missing_images: bool = option(False, "Skip images that are missing or broken.", group=_DATA, card="never")
    max_eval_samples: int = option(
        0, "Score this many images, drawn at random; 0 scores all.", group=_IMAGES, within=">= 0", card="never"
    )
    unseen_labels: str | None = option(
        None,
        "Labels left out of training and scored by their text alone: names with commas, a text file with one per "
        f"line, or {', '.join(SPLITS)}. Needs --scorer label; other models neither train on nor score them.",
        group=_LABELS,
        file=True,
        unset="none",
    )
    num_workers: int = option(
        2, "Processes that load images.", group=_DATA, within=">= 0", identity=False, card="never"
    )


@dataclass
class DataArguments(EvaluationDataArguments):
    """Which images train, select and score a model."""

    train_split: str = option("train", "Split to train on.", group=_DATA, card="never")
    train_file: str | None = option(
        None,
        "Table or export with the training images, for csv, jsonl, cvat, ….",
        group=_DATA,
        file=True,
        card="never",
        unset="found by the split's name",
    )
    check_data: bool = option(
        True,
        "Check labels and look for duplicate images before training.",
        group=_DATA,
        identity=False,
        card="never",
    )
    allow_unlabelled: bool = option(
        False,
        "Accept images without any label; by default they are an error.",
        group=_DATA,
        identity=False,
        card="never",
    )
    train_size: int = option(
        0,
        "Images to render for the training split of scenes; 0 renders its usual number.",
        group=_DATA,
        within=">= 0",
        card="never",
    )
    difficult_in_training: Literal["negative", "ignore"] = option(
        "negative", "How training treats a label with only difficult objects in an image.", group=_LABELS
    )
    hierarchy: str | None = option(
        None,
        "Parents of the labels: a CSV file of child,parent rows, wordnet (or wordnet:LEXICON), or voc. Parents that "
        "the data set lacks become labels.",
        group=_LABELS,
        file=True,
        unset="none",
    )
    holdout: float = option(
        0.1,
        "Share of the training split held out to select the best epoch; 0 keeps the last epoch. With "
        "--eval_split held_out it is scored once instead, and the last epoch is kept. Own images: 0.2.",
        group=_IMAGES,
        within="[0, 1)",
        card="always",
    )
    holdout_seed: int | None = option(
        None,
        "Seed that draws the held-out part.",
        group=_IMAGES,
        card="never",
        unset="the seed of training",
        within=SEED,
    )
    holdout_stratified: bool = option(
        False,
        'Hold out the same share of every label. Needs pip install "sct_hf[stratified]".',
        group=_IMAGES,
    )
    known_proportion: float = option(
        1.0,
        "Probability that a label of an image stays known in training. The held-out part stays complete.",
        group=_LABELS,
        within="(0, 1]",
    )
    single_positive: bool = option(
        False, "Keep one present label of each training image and hide all others.", group=_LABELS
    )
    mask_seed: int | None = option(
        None, "Seed that draws the hidden labels.", group=_LABELS, unset="the seed of training", within=SEED
    )
    max_train_samples: int = option(
        0, "Train on this many images, drawn at random; 0 uses all.", group=_IMAGES, within=">= 0"
    )
    unseen_images: Literal["keep", "drop"] = option(
        "keep",
        "Training images that show an unseen label: keep them without that label, or drop them as the COCO 48/17 "
        "protocol does.",
        group=_LABELS,
    )
    shots: int = option(
        0, "Train on this many images per label, drawn by --seed; 0 uses all.", group=_IMAGES, within=">= 0"
    )
    draw_from_rest: bool = option(
        False,
        "Take held-out part and cache from the full split, and draw max_train_samples from the rest. Runs with other "
        "draws then share both.",
        group=_IMAGES,
        card="never",
    )
    augment: list[Literal["flip", "cutout", "rand_augment", "none"]] = option(
        ["flip", "cutout", "rand_augment"],
        "Random changes to each training image: flip mirrors it, cutout covers a box, rand_augment applies "
        "RandAugment; or none.",
        group=_AUGMENTATION,
        card="always",
    )
    collage: float = option(
        0.0,
        "Share of batches in which images are joined in pairs and carry the labels of both.",
        group=_AUGMENTATION,
        within="[0, 1]",
    )
    resampling: Literal["none", "repeat_factor", "class_aware"] = option(
        "none", "Draw images of rare labels more often; epochs keep their length.", group=_AUGMENTATION
    )
    repeat_threshold: float = option(
        0.1,
        "repeat_factor counts a label as rare below this share of the images; LVIS uses 0.001.",
        group=_AUGMENTATION,
        within="(0, 1]",
    )
    frequency_groups: str | None = option(
        None,
        "Report mAP of rare, common and frequent labels separately: lvis (limits of 10 and 100 training positives), "
        "thirds of the labels, or two limits such as 10,100.",
        group=_LABELS,
        identity=False,
        card="never",
        unset="no groups",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        alone = self.hierarchy is None or self.unseen_labels is None
        require(
            alone, "unseen_labels", self.unseen_labels, "a parent reveals the labels below it; leave out --hierarchy"
        )
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
        """Name of each augmentation, with True if it is applied."""
        choices = choices_of(get_type_hints(type(self))["augment"])
        return {name: name in self.augment for name in choices if name != NO_AUGMENTATION}

    @property
    def hides_labels(self) -> bool:
        """Whether training hides known labels."""
        return self.single_positive or self.known_proportion < 1
