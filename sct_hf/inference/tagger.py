"""From image files to tags, with any multi-label image classifier of `transformers`."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from sct_hf.errors import InputError
from sct_hf.inference.items import Item, read_ahead
from sct_hf.inference.scoring import run_by, run_together
from sct_hf.model.image_processing_sct import Limits
from sct_hf.model.pipeline_sct import MultiLabelImageClassificationPipeline, UnreadableImageError
from sct_hf.model.vocabulary_sct import LabelTexts
from sct_hf.network import failure_reason
from sct_hf.pretrained import load_pretrained

T = TypeVar("T")

_AHEAD = 2  # batches that are read or being read


@dataclass(frozen=True)
class Tags:
    """The tags of one image.

    Attributes:
        path: The image's file, as given; of an image without a file, its name.
        tags: (label, score in [0, 1]) by falling score.
        error: Why the file could not be read; None on success.
        maps: For each label of `tags`, its map (H', W') float32 in [0, 1]; empty unless
            asked for.
        boxes: For each label of `tags`, "xmin", "ymin", "xmax", "ymax" in pixels of the upright image, see
            `heatmap_box`; None unless maps are asked for.
        seen: For each label of `tags`, whether the model was trained on it; None if it was trained on all labels.
        unsure: For each label of `tags`, whether it is near its threshold; None unless `abstain` is given.
        name: The item's name; by default the path.
    """

    path: Path
    tags: list[tuple[str, float]] = field(default_factory=list)
    error: str | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    boxes: dict[str, dict[str, int]] | None = None
    seen: dict[str, bool] | None = None
    unsure: dict[str, bool] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", str(self.path))


class Tagger:
    """A model with its image processor, for tagging files with the pipeline "multi-label-image-classification".

    Args:
        model: An image classifier whose config has `problem_type` "multi_label_classification".
        processor: Its image processor.
        limits: Limits of a call. An image above a limit gets an error, as an unreadable one does.

    Attributes:
        pipeline: The pipeline, on the model's device.
        engine: What computes scores (B, C) float32 from `pixel_values` (B, 3, H, W) float32, such as an exported
            graph; None for the model. Reading and choosing stay the pipeline's.
        label_names: The names of the checkpoint's labels.

    Raises:
        InputError: The model is not a multi-label one.
    """

    def __init__(self, model: PreTrainedModel, processor: Any, limits: Limits | None = None) -> None:
        try:
            self.pipeline = MultiLabelImageClassificationPipeline(
                model=model, image_processor=processor, device=model.device, **vars(limits or Limits())
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        self.model = model
        self.processor = processor
        self.label_names = self.pipeline.label_names
        self.engine: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def label_words(self) -> dict[str, str]:
        """Words for the checkpoint's labels, such as "dining table" for "diningtable", where it keeps them."""
        recipe = getattr(self.model.config, "text_recipe", None)
        words = recipe.get("words") if isinstance(recipe, dict) else None
        if not isinstance(words, list) or len(words) != len(self.label_names):
            return {}
        return dict(zip(self.label_names, words, strict=True))

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str | None = None, limits: Limits | None = None) -> "Tagger":
        """Load a checkpoint.

        Args:
            name: A folder written by training, or a model's name on the Hub.
            device: Such as "cpu" or "cuda:1"; by default the machine's accelerator, if it has one.
            limits: Limits of a call.

        Raises:
            InputError: There is no such model or device, the model is not a multi-label one, or its image processor
                cannot prepare an image.
        """
        target = usable_device(device)
        try:
            model = load_pretrained(AutoModelForImageClassification, name)
            processor = load_pretrained(AutoImageProcessor, name)
        except InputError as error:
            raise InputError(
                f"model: {str(name)!r} cannot be loaded ({error}); "
                "give a folder with config.json, model.safetensors and preprocessor_config.json, or a name on the Hub"
            ) from error
        tagger = cls(model.to(target), processor, limits)
        try:
            tagger.pipeline.preprocess(Image.new("RGB", (8, 8)))
        except Exception as error:  # settings of any kind make transformers raise almost anything
            raise InputError(
                f"model: the image processor of {str(name)!r} prepares no image ({failure_reason(error)}); fix its "
                "preprocessor_config.json"
            ) from error
        return tagger

    def labels_without_tags(self, profile: str | None = None) -> list[str]:
        """Labels that cannot keep what a profile promises, or the default one, and so are never tags.

        Raises:
            ValueError: The checkpoint has no such profile.
        """
        thresholds = self.pipeline.thresholds(None, None, profile)
        return [name for name, least in zip(self.label_names, thresholds, strict=True) if least == math.inf]

    def tag(
        self,
        images: Iterable[str | Path | Item],
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        batch_size: int = 16,
        *,
        profile: str | None = None,
        abstain: float | None = None,
        maps: bool = False,
        known_labels: Mapping[str, bool] | None = None,
        labels: LabelTexts | None = None,
        label_encoder: str | None = None,
        label_templates: Sequence[str] | None = None,
    ) -> Iterator[Tags]:
        """Tag images in order. An unreadable one gets an error and does not stop the others.

        Images are turned upright by their EXIF orientation and converted to RGB. Of an animation, the first frame is
        used.

        Images are taken as they are needed, and threads read some ahead while the model runs: memory does not grow
        with their number.

        Args:
            images: Files, or items. Any iterable, such as a generator of millions.
            threshold: Least score of a tag, in [0, 1], or least scores by label; by default the profile's, or 0.5.
            top_k: Most tags per image; None for no limit.
            batch_size: Images per batch.
            profile: One of the checkpoint's profiles of thresholds; by default `balanced`, or the first by name.
            abstain: Distance from a label's threshold within which it is unsure, see `Tags.unsure`.
            maps: Whether to fill `Tags.maps` and `Tags.boxes`.
            known_labels: Labels known to be present (True) or absent (False) in every image; see the pipeline, as for
                the arguments below.
            labels: Other labels than the checkpoint's.
            label_encoder: Their text encoder.
            label_templates: Prompts for their names.

        Yields:
            One `Tags` for each image.

        Raises:
            InputError: The pipeline refuses an argument, or `batch_size` is below 1.
        """
        needs = {"maps": maps, "known_labels": known_labels, "labels": labels}
        if self.engine is not None and (given := [name for name, value in needs.items() if value]):
            raise InputError(
                f"engine: it only gives scores of the checkpoint's labels, no {given[0]}; leave out the engine, or "
                "heatmaps, boxes, masks, known labels and other labels"
            )
        if not (isinstance(batch_size, int) and batch_size >= 1):
            raise InputError(f"batch_size is {batch_size!r}: give a whole number from 1")
        try:
            stages = self.pipeline.stages(
                threshold=threshold,
                top_k=top_k,
                profile=profile,
                abstain=abstain,
                maps=maps,
                known_labels=known_labels,
                labels=labels,
                label_encoder=label_encoder,
                label_templates=label_templates,
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        return self._tag(map(Item.of, images), batch_size, *stages)

    def _tag(
        self,
        items: Iterator[Item],
        batch_size: int,
        reading: dict[str, Any],
        running: dict[str, Any],
        choosing: dict[str, Any],
    ) -> Iterator[Tags]:
        told: dict[str, Any] = {"boxes": {} if choosing.get("maps") else None}
        told["unsure"] = {} if "abstain" in choosing else None
        told["seen"] = {} if self.pipeline.marks_seen(choosing.get("labels")) else None
        first = list(islice(items, batch_size))  # a few images need few threads
        threads = max(1, min(len(first), os.cpu_count() or 1))
        read = read_ahead(
            chain(first, items), lambda item: self._read(item, reading), threads=threads, most=_AHEAD * batch_size
        )
        for batch in _batches(read, batch_size):
            try:
                inputs = [one for _, one in batch if isinstance(one, dict)]
                outputs = self._scored(inputs, running)
                found = iter([self.pipeline.postprocess(output, **choosing) for output in outputs])
            except (ValueError, RuntimeError) as error:  # of an input size that the model cannot take, say
                raise InputError(str(error)) from error
            for item, one in batch:
                if isinstance(one, str):
                    yield Tags(_path(item), error=one, name=item.name, **told)
                else:
                    yield _as_tags(item, next(found), told)

    def _scored(self, inputs: list[dict[str, Any]], running: Mapping[str, Any]) -> list[dict[str, Any]]:
        return run_together(self.pipeline, inputs, running) if self.engine is None else run_by(self.engine, inputs)

    def _read(self, item: Item, reading: Mapping[str, Any]) -> dict[str, Any] | str:
        """The pipeline's input from an item, or the reason why it cannot be read."""
        image = item.image
        if item.error is not None or image is None:
            return item.error or "no image"
        try:
            if isinstance(image, bytes):
                return self.pipeline.preprocess(_Encoded(item), **reading) if image else "an image of 0 bytes"
            if image.is_dir():
                return "a folder without images"
            if not image.exists():
                return f"a link to {os.readlink(image)!r}, where no file is" if image.is_symlink() else "no such file"
            return self.pipeline.preprocess(image, **reading)
        except (OSError, UnreadableImageError) as error:
            return failure_reason(error.__cause__ or error)


def _path(item: Item) -> Path:
    return item.image if isinstance(item.image, Path) else Path(item.name)


class _Encoded(BytesIO):
    """An item's bytes as a file, which errors of Pillow call by the item's name."""

    def __init__(self, item: Item) -> None:
        super().__init__(item.image if isinstance(item.image, bytes) else b"")
        self._item = item.name

    def __repr__(self) -> str:
        return repr(self._item)


def _batches(read: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(read)
    while batch := list(islice(rest, size)):
        yield batch


def _as_tags(item: Item, tags: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> Tags:
    """The pipeline's results for an image, by label, with the optional fields in `told`."""
    scores = [(tag["label"], tag["score"]) for tag in tags]
    maps = {tag["label"]: tag["map"] for tag in tags if "map" in tag}
    marks: dict[str, Any] = {
        field: None if told[field] is None else {tag["label"]: tag[key] for tag in tags}
        for field, key in (("boxes", "box"), ("seen", "seen"), ("unsure", "unsure"))
    }
    return Tags(_path(item), scores, maps=maps, name=item.name, **marks)


def usable_device(device: str | None) -> torch.device:
    """The device of this name, or by default the machine's accelerator, if any.

    Raises:
        InputError: The device cannot be used.
    """
    if device is None:
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device: {device!r} cannot be used ({failure_reason(error)}); give cpu, cuda or mps"
        ) from error
    return torch.device(device)
