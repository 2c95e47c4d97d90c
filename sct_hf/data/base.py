"""What every reader returns: images with several labels each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, Features, Image, List, Value

from sct_hf.errors import InputError


def features_for(label_names: Sequence[str]) -> Features:
    """Columns of a `LabelledImages.dataset`: `image_id`, `image`, `labels` (present) and `unknown` (not judged).

    Raises:
        InputError: Fewer than two labels, or one name twice.
    """
    names = list(label_names)
    if len(names) < 2:
        raise InputError(f"labels are {names}: a multi-label data set needs at least two")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"labels name {twice} twice: give each label once")
    label = ClassLabel(names=names)
    return Features({"image_id": Value("string"), "image": Image(), "labels": List(label), "unknown": List(label)})


@dataclass(frozen=True)
class LabelledImages:
    """One split of a multi-label data set.

    Attributes:
        dataset: Columns `image_id` (string), `image` (decoded on access), `labels` and `unknown` (lists of
            `ClassLabel`). A label in neither list is absent from the image.
        name: Name of the data set.
        split: Name of the split.
        skipped: Ids of listed images left out because their file is missing or broken.

    Raises:
        InputError: There is not one image.
    """

    dataset: Dataset
    name: str
    split: str
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.dataset) == 0:
            raise InputError(f"split {self.split!r} of data set {self.name!r} is empty: there is no image in it")

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def label_names(self) -> list[str]:
        """The C label names, in the order of the target columns."""
        return list(self.dataset.features["labels"].feature.names)

    @property
    def image_ids(self) -> list[str]:
        """The N image ids, in order."""
        return self._table["image_id"].to_pylist()

    def targets(self) -> np.ndarray:
        """Return (N, C) float32: 1 present, 0 absent, -1 unknown."""
        targets = np.zeros((len(self), len(self.label_names)), dtype=np.float32)
        targets[_cells(self._table["unknown"])] = -1
        targets[_cells(self._table["labels"])] = 1
        return targets

    def select(self, indices: Sequence[int] | np.ndarray) -> "LabelledImages":
        """Return the images at `indices`, in that order."""
        return replace(self, dataset=self.dataset.select(indices))

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
        """Part the images at random under `seed`, each part in its order.

        Args:
            fraction: Share of the images to hold out, within (0, 1); at least one is held out and one kept.
            seed: Decides, together with the number of images alone, which are held out.
            stratified: Part them so that every label has this share of its images held out, as far as that goes
                (iterative stratification: Sechidis et al., ECML PKDD 2011). What is held out then depends on the
                labels as well, and their number may differ a little.

        Returns:
            The rest, split "<split>[rest]", and the held-out part, split "<split>[holdout]".

        Raises:
            InputError: `fraction` is not within (0, 1), there are fewer than two images, or `stratified` without
                the package it needs, or without an image for either part.
        """
        if not 0 < fraction < 1:
            raise InputError(f"holdout is {fraction}: give a fraction between 0 and 1")
        if len(self) < 2:
            raise InputError(f"holdout is {fraction}, but split {self.split!r} has one image: two are needed")
        count = min(max(round(fraction * len(self)), 1), len(self) - 1)
        if stratified:
            kept, out = _stratified(self.targets() == 1, count, seed)
        else:
            order = _shuffled(len(self), seed)
            kept, out = np.sort(order[count:]), np.sort(order[:count])
        rest, held_out = self.select(kept), self.select(out)
        return replace(rest, split=f"{self.split}[rest]"), replace(held_out, split=f"{self.split}[holdout]")

    def aligned_to(self, label_names: Sequence[str]) -> "LabelledImages":
        """Return the same images with targets in the columns of `label_names`, as a checkpoint has them.

        A label that only `label_names` has is unknown in every image: the data set does not judge it.

        Raises:
            InputError: A label of this data set is not in `label_names`.
        """
        if list(label_names) == self.label_names:
            return self
        strange = [name for name in self.label_names if name not in set(label_names)]
        if strange:
            raise InputError(
                f"data set {self.name!r} has {len(strange)} labels that the model does not know: "
                f"{', '.join(strange[:10])}{', …' if len(strange) > 10 else ''}; "
                f"rename them in the data or train a model with them. The model knows {', '.join(label_names)}"
            )
        column_of = {name: column for column, name in enumerate(label_names)}
        new_ids = np.array([column_of[name] for name in self.label_names], dtype=np.int64)
        unjudged = [column for name, column in column_of.items() if name not in set(self.label_names)]
        return self._with_labels(
            label_names,
            _renumbered(self._table["labels"], new_ids),
            [[*ids, *unjudged] for ids in _renumbered(self._table["unknown"], new_ids)],
        )

    def with_unknown(self, hidden: np.ndarray) -> "LabelledImages":
        """Return the same images with the targets at `hidden`, bool (N, C), unknown."""
        targets = self.targets()
        targets[hidden] = -1
        labels, unknown = ([np.flatnonzero(row == value).tolist() for row in targets] for value in (1, -1))
        return self._with_labels(self.label_names, labels, unknown)

    def _with_labels(
        self, label_names: Sequence[str], labels: list[list[int]], unknown: list[list[int]]
    ) -> "LabelledImages":
        features = features_for(label_names)
        dataset = self.dataset.remove_columns(["labels", "unknown"])
        for column, lists in (("labels", labels), ("unknown", unknown)):
            dataset = dataset.add_column(column, lists, feature=features[column])
        return replace(self, dataset=dataset)

    def with_labels(self, label_names: Sequence[str]) -> "LabelledImages":
        """Return the same images with the labels `label_names` alone, in that order; what others say is dropped.

        Raises:
            InputError: A name that is no label of this data set, or fewer than two names.
        """
        if list(label_names) == self.label_names:
            return self
        strange = [name for name in label_names if name not in set(self.label_names)]
        if strange:
            raise InputError(
                f"labels has {strange[0]!r}, which is no label of data set {self.name!r}: give some of "
                f"{', '.join(self.label_names)}"
            )
        place_of = {name: place for place, name in enumerate(label_names)}
        new_ids = np.array([place_of.get(name, -1) for name in self.label_names], dtype=np.int64)
        labels, unknown = (
            [[label for label in ids if label >= 0] for ids in _renumbered(self._table[column], new_ids)]
            for column in ("labels", "unknown")
        )
        return self._with_labels(label_names, labels, unknown)

    @cached_property
    def _table(self) -> pa.Table:
        table = self.dataset.remove_columns("image").with_format("arrow")[:]
        return table.combine_chunks()


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
            f"holdout_stratified parts {len(present)} images into {len(kept)} and {len(out)}: change holdout, or "
            "leave holdout_stratified out"
        )
    return kept, out


def _cells(lists: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every entry of a column of lists."""
    lengths = np.array([0 if row is None else len(row) for row in lists.to_pylist()], dtype=np.int64)
    return np.repeat(np.arange(len(lengths)), lengths), lists.combine_chunks().flatten().to_numpy()


def _renumbered(lists: pa.ChunkedArray, new_ids: np.ndarray) -> list[list[int]]:
    return [[int(new_ids[label]) for label in row] for row in lists.to_pylist()]
