"""From image files to tags, with any multi-label image classifier of `transformers`."""

import csv
import glob
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from sct_hf.errors import InputError
from sct_hf.files import images_below
from sct_hf.model.image_processing_sct import to_rgb
from sct_hf.model.known_labels_sct import known_by_name
from sct_hf.model.tags_sct import check_count, has_plan, label_names, select_tags, thresholds_of
from sct_hf.network import failure_reason


@dataclass(frozen=True)
class Tags:
    """What was found in one image.

    Attributes:
        path: The image's file, as given.
        tags: (label, score in [0, 1]) by falling score.
        error: Why the file could not be read; None if it could.
        maps: For each label of `tags`, the region-to-label transport plan (H', W') float32 in [0, 1]; empty unless
            asked for.
    """

    path: Path
    tags: list[tuple[str, float]] = field(default_factory=list)
    error: str | None = None
    maps: dict[str, np.ndarray] = field(default_factory=dict)


class Tagger:
    """A model with its image processor, ready to tag images.

    Args:
        model: An image classifier whose config has `problem_type` "multi_label_classification".
        processor: Its image processor.

    Raises:
        InputError: The model is not a multi-label one.
    """

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        problem = model.config.problem_type
        if problem != "multi_label_classification":
            raise InputError(
                f"model: problem_type is {problem!r}, so its scores are not one probability a label; "
                "give a model whose config says 'multi_label_classification'"
            )
        self.model = model.eval()
        self.processor = processor
        self.label_names = label_names(model)

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str | None = None) -> "Tagger":
        """Load a checkpoint.

        Args:
            name: A folder written by training, or a model's name on the Hub.
            device: Such as "cpu" or "cuda:1"; the machine's accelerator, if it has one, by default.

        Raises:
            InputError: There is no such model or device, or the model is not a multi-label one.
        """
        target = _usable_device(device)
        try:
            model = AutoModelForImageClassification.from_pretrained(name)
            processor = AutoImageProcessor.from_pretrained(name)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"model: {str(name)!r} cannot be loaded ({failure_reason(error)}); "
                "give a folder with config.json, model.safetensors and preprocessor_config.json, or a name on the Hub"
            ) from error
        return cls(model.to(target), processor)

    def tag(
        self,
        paths: Sequence[str | Path],
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        batch_size: int = 16,
        *,
        maps: bool = False,
        known_labels: Mapping[str, bool] | None = None,
    ) -> Iterator[Tags]:
        """Tag image files, in order; one that cannot be read gets an error and does not stop the others.

        Images are turned upright by their EXIF orientation; any mode is made RGB; of an animation the first frame
        counts.

        Args:
            paths: The files.
            threshold: Least score of a tag, in [0, 1], or such scores by label; the checkpoint's own by default,
                0.5 where it has none.
            top_k: At most so many tags an image, the best ones; None for no limit.
            batch_size: Images that go through the model together.
            maps: Whether to give `Tags.maps`.
            known_labels: Labels known to be present (True) or absent (False) in every image, which inform the
                scores of the others, for checkpoints with `label_states`.

        Yields:
            One `Tags` for each path.

        Raises:
            InputError: An argument outside its range, `maps` of a model that has no transport plan, or known labels
                that the model does not know, or cannot use.
        """
        try:
            thresholds = thresholds_of(self.model, self.label_names, threshold)
            check_count("top_k", top_k)
            check_count("batch_size", batch_size)
            known = None
            if known_labels is not None:
                known = known_by_name(known_labels, self.label_names, self.model.config)  # (C,), or none
        except ValueError as error:
            raise InputError(str(error)) from error
        if maps and not has_plan(self.model):
            raise InputError(
                f"heatmaps: a model of type {self.model.config.model_type!r} has no transport plan; use an SCT model"
            )
        return self._tag([Path(path) for path in paths], thresholds, top_k, batch_size, maps, known)

    def _tag(
        self,
        paths: list[Path],
        thresholds: np.ndarray,
        top_k: int | None,
        batch_size: int,
        maps: bool,
        known: Tensor | None,
    ) -> Iterator[Tags]:
        with ThreadPoolExecutor(min(batch_size, os.cpu_count() or 1)) as pool:
            for start in range(0, len(paths), batch_size):
                batch = paths[start : start + batch_size]
                read = list(pool.map(self._read, batch))
                pixels = [item for item in read if isinstance(item, Tensor)]
                found = iter(self._find(torch.stack(pixels), thresholds, top_k, maps, known) if pixels else ())
                for path, item in zip(batch, read, strict=True):
                    yield Tags(path, error=item) if isinstance(item, str) else Tags(path, **next(found))

    def _read(self, path: Path) -> Tensor | str:
        """The image as the model's input (3, H, W), or why it cannot be read."""
        if path.is_dir():
            return "a folder without images"
        if not path.exists():
            return "no such file"
        try:
            with Image.open(path) as file:
                image = to_rgb(file)
        except Exception as error:  # broken files make Pillow's decoders raise almost anything
            return failure_reason(error)
        return preprocess(self.processor, [image])[0]

    def _find(
        self, pixels: Tensor, thresholds: np.ndarray, top_k: int | None, maps: bool, known: Tensor | None
    ) -> Iterator[dict[str, Any]]:
        try:
            scores, plans = model_scores(self.model, pixels, maps=maps, known_labels=known)  # (B, C), (B, C, H', W')
        except ValueError as error:
            raise InputError(str(error)) from error
        for index, row in enumerate(scores):
            try:
                chosen = select_tags(row, thresholds, top_k)
            except ValueError as error:
                raise InputError(str(error)) from error
            yield {
                "tags": [(self.label_names[label], float(row[label])) for label in chosen],
                "maps": {} if plans is None else {self.label_names[label]: plans[index, label] for label in chosen},
            }


def preprocess(processor: Any, images: Sequence[Image.Image]) -> Tensor:
    """Run an image processor on RGB images: (B, 3, H, W) float32."""
    return processor(images=list(images), return_tensors="pt")["pixel_values"]


def model_scores(
    model: PreTrainedModel, pixels: Tensor, *, maps: bool = False, known_labels: Tensor | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Score images without gradients, in evaluation mode; the model's mode is restored.

    Args:
        model: A multi-label image classifier.
        pixels: (B, 3, H, W) as from `preprocess`.
        maps: Whether to ask for the transport plan.
        known_labels: (C,), what is known of the labels of every image: 1, 0, or -1 unknown.

    Returns:
        Scores (B, C) float32, the sigmoid of the logits; and the region-to-label transport plan (B, C, H', W')
        float32, None if not asked for or if the model has none.
    """
    weight = next(model.parameters())
    options: dict[str, Any] = {"output_maps": True} if maps and has_plan(model) else {}
    if known_labels is not None:
        options["known_labels"] = known_labels.to(weight.device).expand(len(pixels), -1)
    mode = model.training
    model.eval()
    try:
        with torch.inference_mode():
            output = model(pixels.to(weight.device, weight.dtype), **options)
    finally:
        model.train(mode)
    scores = output.logits.float().sigmoid().cpu().numpy()
    return scores, output.transport_plan.float().cpu().numpy() if "output_maps" in options else None


def find_images(inputs: Sequence[str | Path]) -> list[Path]:
    """Files, folders and glob patterns to image files, each once, in the order given.

    A folder is searched with its subfolders, in the order of the names, for files that end as `IMAGE_SUFFIXES`
    say and do not begin with a dot; `**` in a pattern stands for any number of folders. An input that gives nothing
    stays in the result as it is, so that whoever opens it reports it.

    Raises:
        InputError: No input gives a file.
    """
    found: dict[Path, None] = {}
    anything = False
    for given in inputs:
        path = Path(given)
        if path.is_file():
            matches = [path]
        elif path.is_dir():
            matches = images_below(path)
        else:
            hits = [Path(hit) for hit in sorted(glob.glob(str(given), recursive=True))]
            matches = [file for hit in hits for file in (images_below(hit) if hit.is_dir() else [hit])]
        anything = anything or bool(matches)
        found |= dict.fromkeys(matches or [path])
    if not anything:
        raise InputError(f"images: nothing found in {', '.join(map(str, inputs))}; give files, folders or globs")
    return list(found)


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that all files lie in, absolute."""
    return Path(os.path.commonpath([path.absolute().parent for path in paths]))


def format_tags(results: Sequence[Tags], style: Literal["table", "json", "csv"]) -> str:
    """Write results as text that ends with a line break.

    Args:
        results: The images' tags.
        style: "table": one line an image; "json": a list of {"path", "tags": [{"label", "score"}]} with "error" where
            a file could not be read; "csv": path, label, score, error, one row a tag and one for an image without.
    """
    if style == "json":
        content = [
            {
                "path": str(result.path),
                "tags": [{"label": label, "score": score} for label, score in result.tags],
                **({"error": result.error} if result.error else {}),
            }
            for result in results
        ]
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if style == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("path", "label", "score", "error"))
        for result in results:
            rows = [(label, str(score)) for label, score in result.tags] or [("", "")]
            writer.writerows((result.path, *row, result.error or "") for row in rows)
        return text.getvalue()
    width = max((len(str(result.path)) for result in results), default=0)
    lines = []
    for result in results:
        tags = ", ".join(f"{label} {score:.2f}" for label, score in result.tags)
        lines.append(f"{result.path!s:<{width}}  {f'error: {result.error}' if result.error else tags or '(no tag)'}")
    return "\n".join(lines) + "\n"


def _usable_device(device: str | None) -> torch.device:
    if device is None:
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device: {device!r} cannot be used ({failure_reason(error)}); give cpu, cuda or mps"
        ) from error
    return torch.device(device)
