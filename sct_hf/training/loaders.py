"""The loaders of a run's images, or of their cached maps."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, Sampler

from sct_hf.data import ImageDataset, LabelledImages, eval_transform, train_transform
from sct_hf.data.feature_cache import CachedDataset, cached_feature_maps, collate_cached
from sct_hf.data.loading import StreamedDataset
from sct_hf.data.shards.images import StreamedImages, listed
from sct_hf.data.shards.stream import ShardBatches
from sct_hf.errors import InputError
from sct_hf.training.arguments import HELD_OUT, Arguments, EvaluationDataArguments
from sct_hf.training.models import TaggingModel
from sct_hf.training.resampling import WeightedSampler, class_aware_weights, repeat_factors
from sct_hf.training.run_data import RunData

ListedDataset = ImageDataset | CachedDataset

WATCHED = 256
"""Most training images that are scored after each epoch."""


@dataclass(frozen=True)
class Loaders:
    """Prepared loaders of the parts of `RunData`.

    `watched` has up to `WATCHED` training images. Their cached maps are scored after each epoch for `curves.png`, if
    it is drawn and nothing is held out to select by.
    """

    training: "TrainingLoader"
    held_out: DataLoader[Any] | None
    evaluation: DataLoader[Any]
    watched: DataLoader[Any] | None = None


class TrainingLoader:
    """Batches of training images, from any batch of any epoch on.

    Args:
        loader: Prepared loader of the batches of this process.
        images: Images of an epoch, over all processes.
        accelerator: The accelerator of this process.
        stream: The batches of a stream, which find their place themselves; None for listed images.
    """

    def __init__(
        self, loader: DataLoader[Any], images: int, accelerator: Accelerator, stream: ShardBatches | None = None
    ) -> None:
        self.images = images
        self._loader, self._accelerator, self._stream = loader, accelerator, stream

    def __len__(self) -> int:
        return len(self._loader)

    def batches(self, epoch: int, first: int) -> DataLoader[Any]:
        """The batches of `epoch` from number `first` on."""
        loader: Any = self._loader
        loader.set_epoch(epoch)
        loader.dataset.set_epoch(epoch)
        if self._stream is not None:
            self._stream.start(epoch, first)
            return self._loader
        rest: DataLoader[Any] = self._accelerator.skip_first_batches(loader, first) if first else loader
        return rest


def make_loaders(run_data: RunData, model: TaggingModel, arguments: Arguments, accelerator: Accelerator) -> Loaders:
    """Make the loaders, of cached maps if the arguments say so.

    Args:
        run_data: The images.
        model: Source of size, mean and standard deviation; its backbone computes the maps.
        arguments: Arguments of the run.
        accelerator: The accelerator of this process.

    Raises:
        InputError: The batch size is not a multiple of the number of processes, or too small for collages.
    """
    size, processes = arguments.train.batch_size, accelerator.num_processes
    if size % processes:
        raise InputError(f"batch_size is {size}, for {processes} processes to share: give a multiple of {processes}")
    if arguments.data.collage and size < 2 * processes:
        raise InputError(
            f"batch_size is {size} for {processes} processes, but collage joins pairs: give at least {2 * processes}, "
            "or leave out --collage"
        )
    make = _cached_datasets if arguments.train.cache_features else _image_datasets
    dataset, held_out, evaluation = make(run_data, model, arguments, accelerator)
    drawn = arguments.train.figures and held_out is None
    watched = dataset.spread(WATCHED) if isinstance(dataset, CachedDataset) and drawn else None
    sampler = _sampler(run_data, arguments)
    if isinstance(run_data.training, StreamedImages):
        training = _streamed(dataset, run_data.training, arguments, accelerator)
    else:
        loader = make_loader(dataset, arguments.data, size, accelerator, shuffle=True, sampler=sampler)
        training = TrainingLoader(loader, len(loader) * size, accelerator)
    return Loaders(
        training,
        make_loader(held_out, arguments.data, size, accelerator) if held_out else None,
        make_loader(evaluation, arguments.data, size, accelerator),
        make_loader(watched, arguments.data, size, accelerator) if watched else None,
    )


def make_loader(
    dataset: ListedDataset,
    data: EvaluationDataArguments,
    batch_size: int,
    accelerator: Accelerator,
    *,
    shuffle: bool = False,
    sampler: Sampler[Any] | None = None,
) -> DataLoader[Any]:
    """Make and prepare a loader.

    Args:
        dataset: Images or cached maps.
        data: Options with the number of loading processes; the process itself reads cached maps.
        batch_size: Images per batch, over all processes.
        accelerator: The accelerator of this process.
        shuffle: Whether to use a new order every epoch and drop the last incomplete batch.
        sampler: Source of the order; if None, every image appears once.
    """
    cached = isinstance(dataset, CachedDataset)
    collate: Any = collate_cached if cached else None
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle and sampler is None,
        sampler=sampler,
        drop_last=shuffle and len(dataset) >= batch_size,
        collate_fn=collate,
        **_reading(0 if cached else data.num_workers, accelerator),
    )
    return accelerator.prepare_data_loader(loader)


def _streamed(dataset: Any, images: StreamedImages, arguments: Arguments, accelerator: Accelerator) -> TrainingLoader:
    """The loader of a stream. This process has its own batches already, so accelerate must not share them out."""
    processes, seed = accelerator.num_processes, arguments.train.seed
    size = arguments.train.batch_size // processes
    batches = ShardBatches(images.index, size, seed, accelerator.process_index, processes)
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_sampler=batches, **_reading(arguments.data.num_workers, accelerator)
    )
    own = prepare_data_loader(loader, accelerator.device, 1, 0, put_on_device=True, non_blocking=True)
    return TrainingLoader(own, len(images), accelerator, batches)


def _reading(workers: int, accelerator: Accelerator) -> dict[str, Any]:
    """Options of loaders that read in other processes."""
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,  # the data set's epoch reaches running workers as well
        "worker_init_fn": _leave_group,
        "pin_memory": accelerator.device.type == "cuda",
        # An own generator: making an iterator must not draw from the one that dropout uses.
        "generator": torch.Generator().manual_seed(0),
    }


def _leave_group(_: int) -> None:
    """Ignore signals to all processes, such as Ctrl-C, in a process that loads images; it ends with the run."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def _sampler(run_data: RunData, arguments: Arguments) -> WeightedSampler | None:
    """The order of the training images if some appear more often than others."""
    data = arguments.data
    if data.resampling == "none":
        return None
    targets = listed(run_data.training, f"resampling is {data.resampling!r}").targets()
    if data.resampling == "class_aware":
        return WeightedSampler(class_aware_weights(targets), arguments.train.seed)
    return WeightedSampler(repeat_factors(targets, data.repeat_threshold), arguments.train.seed)


def _image_datasets(
    run_data: RunData, model: TaggingModel, arguments: Arguments, accelerator: Accelerator
) -> tuple[Any, ListedDataset | None, ListedDataset]:
    config, data = model.config, arguments.data
    look = (config.image_size, config.image_mean, config.image_std)
    changes: Any = data.augmentations
    augment = train_transform(*look, **changes)
    plain = eval_transform(*look)
    training, drawing = run_data.training, {"seed": arguments.train.seed, "draft_side": max(config.input_size)}
    return (
        StreamedDataset(augment, **drawing)
        if isinstance(training, StreamedImages)
        else ImageDataset(training, augment, **drawing),
        ImageDataset(run_data.held_out, plain) if run_data.held_out else None,
        ImageDataset(run_data.evaluation, plain),
    )


def _cached_datasets(
    run_data: RunData, model: TaggingModel, arguments: Arguments, accelerator: Accelerator
) -> tuple[Any, ListedDataset | None, ListedDataset]:
    train = arguments.train

    def maps(images: LabelledImages, views: int) -> np.ndarray:
        return cached_feature_maps(
            model,
            images,
            views=views,
            cache_dir=train.cache_dir,
            accelerator=accelerator,
            num_workers=arguments.data.num_workers,
        )

    whole, training = (listed(part, "cache_features is True") for part in (run_data.all_training, run_data.training))
    feature_maps, views = maps(whole, train.cached_views), train.cached_views
    row_of = {image_id: row for row, image_id in enumerate(whole.image_ids)}

    def part(images: LabelledImages, views: int) -> CachedDataset:
        rows = np.array([row_of[image_id] for image_id in images.image_ids])
        return CachedDataset(feature_maps, rows, images.targets(), views=views, seed=train.seed)

    evaluation = run_data.evaluation
    if arguments.data.eval_split == HELD_OUT:
        return part(training, views), None, part(evaluation, 1)
    return (
        part(training, views),
        part(run_data.held_out, 1) if run_data.held_out else None,
        CachedDataset(maps(evaluation, 1), np.arange(len(evaluation)), evaluation.targets(), views=1),
    )
