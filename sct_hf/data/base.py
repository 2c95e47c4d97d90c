"""Images with several labels each, the input of training and evaluation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as PilImage

from sct_hf.data.decoding import decode_image
from sct_hf.data.image_sources import ImageSource
from sct_hf.data.label_counts import LabelCounts
from sct_hf.errors import InputError
from sct_hf.name_lists import PRINTED, some


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """One split of a multi-label data set: N images and C labels.

    Attributes:
        source: The N encoded images, see `sct_hf.data.image_sources`.
        marks: (N, C) int8, 1 present, 0 absent, -1 unknown. Read-only; see `targets`.
        label_names: The C label names, in the order of the columns of `marks`.
        image_ids: The N names of the images in the data set.
        name: Name of the data set.
        split: Name of the split.
        skipped: Ids of skipped images, whose file is missing or broken.

    Raises:
        InputError: There is no image, an id or a label repeats, or there are fewer than two labels.
    """

    source: ImageSource
    marks: np.ndarray
    label_names: list[str]
    image_ids: list[str]
    name: str
    split: str
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.image_ids) == 0:
            raise InputError(f"split {self.split!r} of data set {self.name!r} has no image")
        if len(self.label_names) < 2:
            raise InputError(f"labels are {self.label_names}: a multi-label data set needs at least two")
        if twice := _twice(self.label_names):
            raise InputError(f"labels name {twice} twice: give each label once")
        shape = (len(self.image_ids), len(self.label_names))
        if self.marks.shape != shape or self.marks.dtype != np.int8 or len(self.source) != shape[0]:
            raise ValueError(
                f"marks are {self.marks.dtype} {self.marks.shape} and images {len(self.source)}: give int8 {shape}"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    def targets(self) -> np.ndarray:
        """Return (N, C) int8: 1 present, 0 absent, -1 unknown; a copy."""
        return self.marks.copy()

    def counts(self) -> LabelCounts:
        """Counts of each label."""
        return LabelCounts.of(self.marks)

    def encoded(self, index: int) -> dict[str, Any]:
        """Return the undecoded image: its `bytes`, or None, and the `path` of its file, or None."""
        return self.source[index]

    def image(self, index: int) -> PilImage.Image:
        """Decode one image in full and as stored: neither turned upright nor converted to RGB."""
        return decode_image(self.source[index])

    def to_dataset(self) -> Dataset:
        """Return a `datasets.Dataset` with columns `image_id`, `image`, `labels` and `unknown` (lists of names).

        After `save_to_disk` or `to_parquet`, `load_data` reads it back.
        """
        label = ClassLabel(names=self.label_names)
        columns = {"image_id": Value("string"), "image": Image(), "labels": List(label), "unknown": List(label)}
        rows = {
            "image_id": self.image_ids,
            "image": [self.source[index] for index in range(len(self))],
            "labels": [np.flatnonzero(row == 1).tolist() for row in self.marks],
            "unknown": [np.flatnonzero(row == -1).tolist() for row in self.marks],
        }
        return Dataset.from_dict(rows, features=Features(columns))

    def select(self, indices: Sequence[int] | np.ndarray) -> "LabelledImages":
        """Return the images at `indices`, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        ids = [self.image_ids[row] for row in rows]
        return replace(self, source=self.source.select(rows), marks=self.marks[rows], image_ids=ids)

    def subset(self, max_samples: int | None, seed: int) -> "LabelledImages":
        """Return `max_samples` images drawn at random under `seed`, in their order; all of them for None.

        Raises:
            InputError: `max_samples` is below 1.
        """
        if max_samples is None or max_samples >= len(self):
            return self
        if max_samples < 1:
            raise InputError(f"max_samples is {max_samples}: give at least 1")
        return self.select(np.sort(_shuffled(len(self), seed)[:max_samples]))

    def holdout(
        self, fraction: float, seed: int, *, stratified: bool = False
    ) -> tuple["LabelledImages", "LabelledImages"]:
        """Split the images at random under `seed`; each part keeps the order.

        Args:
            fraction: Share of the images to hold out, in (0, 1). At least one is held out and one kept.
            seed: Seed of the draw, which otherwise depends only on the number of images.
            stratified: Hold out this share of every label's images, as far as possible (iterative stratification:
                Sechidis et al., ECML PKDD 2011). The draw then also depends on the labels, and the number of held-out
                images may differ a little.

        Returns:
            The rest, split "<split>[rest]", and the held-out part, split "<split>[holdout]".

        Raises:
            InputError: `fraction` is not in (0, 1), there are fewer than two images, a part would be empty, or the
                package for `stratified` is not installed.
        """
        if not 0 < fraction < 1:
            raise InputError(f"holdout is {fraction}: give a fraction between 0 and 1")
        if len(self) < 2:
            raise InputError(f"holdout is {fraction}, but split {self.split!r} has one image: two are needed")
        count = min(max(round(fraction * len(self)), 1), len(self) - 1)
        if stratified:
            kept, out = _stratified(self.marks == 1, count, seed)
        else:
            order = _shuffled(len(self), seed)
            kept, out = np.sort(order[count:]), np.sort(order[:count])
        rest, held_out = self.select(kept), self.select(out)
        return replace(rest, split=f"{self.split}[rest]"), replace(held_out, split=f"{self.split}[holdout]")

    def aligned_to(self, label_names: Sequence[str]) -> "LabelledImages":
        """Return the same images with targets in the columns of `label_names`, such as a checkpoint's.

        A label that only `label_names` has is unknown in every image.

        Raises:
            InputError: A label of this data set is not in `label_names`.
        """
        if list(label_names) == self.label_names:
            return self
        known = set(label_names)
        strange = [name for name in self.label_names if name not in known]
        if strange:
            raise InputError(
                f"data set {self.name!r} has {len(strange)} labels that the model does not know: "
                f"{some(strange)}; "
                f"rename them in the data or train a model with them. The model knows {some(label_names, PRINTED)}"
            )
        column_of = {name: column for column, name in enumerate(label_names)}
        marks = np.full((len(self), len(column_of)), -1, dtype=np.int8)
        marks[:, [column_of[name] for name in self.label_names]] = self.marks
        return self.with_marks(marks, label_names)

    def with_unknown(self, hidden: np.ndarray) -> "LabelledImages":
        """Return the same images with the targets at `hidden`, bool (N, C), set to unknown."""
        return replace(self, marks=np.where(hidden, np.int8(-1), self.marks))

    def with_labels(self, label_names: Sequence[str]) -> "LabelledImages":
        """Return the same images with only the labels `label_names`, in that order.

        Raises:
            InputError: A name is no label of this data set, or there are fewer than two names.
        """
        if list(label_names) == self.label_names:
            return self
        column_of = {name: column for column, name in enumerate(self.label_names)}
        strange = [name for name in label_names if name not in column_of]
        if strange:
            raise InputError(
                f"labels has {strange[0]!r}, which is no label of data set {self.name!r}: give some of "
                f"{some(self.label_names, PRINTED)}"
            )
        return self.with_marks(self.marks[:, [column_of[name] for name in label_names]], label_names)

    def with_marks(self, marks: np.ndarray, label_names: Sequence[str]) -> "LabelledImages":
        """Return the same images with other labels: `marks` (N, C), 1, 0 or -1, one column per name."""
        return replace(self, marks=marks.astype(np.int8, copy=False), label_names=list(label_names))


def _twice(names: Sequence[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _shuffled(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


def _stratified(present: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N,) of present labels (N, C) to keep and about `count` to hold out, each in order."""
    try:
        from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
    except ImportError as error:
        raise InputError('holdout_stratified needs a package: pip install "sct_hf[stratified]"') from error
    parting = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=count, random_state=seed)
    kept, out = next(parting.split(present, present))
    if not len(kept) or not len(out):
        raise InputError(
            f"holdout_stratified splits {len(present)} images into {len(kept)} and {len(out)}: change holdout, or "
            "leave holdout_stratified out"
        )
    return kept, out
