"""The pipeline "multi-label-image-classification": images → tags and where they were seen.

It travels with a checkpoint, whose config.json then lists it under `custom_pipelines`.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Pipeline

from .backbone_sct import capability
from .image_processing_sct import open_image, to_rgb
from .vocabulary_sct import Vocabulary, encode_new_labels, label_texts, seen_in_training

TASK = "multi-label-image-classification"

_STAGES = {  # arguments of a call, and which of preprocess (0), forward (1) and postprocess (2) take them
    **{"heatmaps": (0, 1), "known_labels": (1,), "label_encoder": (), "label_templates": ()},
    **{"labels": (1, 2), "maps": (1, 2), "threshold": (2,), "top_k": (2,)},
}
_KEPT_LABEL_SETS = 8
_LABELS_AT_ONCE = 512

# Every 17th of the 256 colours of "inferno" (Nathaniel Smith and Stéfan van der Walt, CC0), from dark to bright.
_INFERNO = (
    "000004 0c0826 240c4f 420a68 5d126e 781c6d 932667 ae305c c73e4c dd513a ed6925 f8850f fca50a fac62d f2e661 fcffa4"
)
_OPACITY = 0.75
_LEVELS = 2048
_STRIP = 64  # rows that are coloured together
_FINEST = 128


class UnreadableImageError(ValueError):
    """An image that cannot be read; its `__cause__` says why."""


class MultiLabelImageClassificationPipeline(Pipeline):
    """Tags images: each label whose score, the sigmoid of its logit, reaches its threshold.

    Arguments of the pipeline, or of a call:

    Args:
        threshold (`float` or `dict[str, float]`, *optional*): Least score of a tag, or such scores by label; labels
            without one have that of `config.thresholds`, or 0.5.
        top_k (`int`, *optional*): At most so many tags an image, the best ones.
        heatmaps (`bool`, *optional*, defaults to `False`): Whether each tag also gets `"heatmap"`, the transport plan
            of its label laid over the image, and `"box"`, the part of the image around the plan's peak.
        maps (`bool`, *optional*, defaults to `False`): Whether each tag also gets `"map"`, that plan itself, (H', W')
            float32, and `"box"`.
        known_labels (`dict[str, bool]`, *optional*): Labels known to be present (True) or absent (False) in every
            image, which inform the scores of the others, for models that take them. Their own scores say what
            is known.
        labels (`list[str]`, or `dict` of texts by name, *optional*): Other labels than those of the checkpoint, for
            `scorer="label"`. They are embedded by its text encoder; the model stays as it is. A dict gives texts that
            stand for a label in place of its name: a description, or a list of prompts, which are averaged. Scores
            depend on which labels are given together, as transport shares each region among them. Very many labels
            are scored a part at a time, without heatmaps.
        label_templates (`list[str]`, *optional*): Prompts for all names of `labels`, such as `"a photo of a {}"`,
            which are averaged, in place of the checkpoint's template.
        label_encoder (`str`, *optional*): Name or folder of that text encoder, where `config.text_recipe` cannot tell.

    Example:
        ```python
        >>> tagger = pipeline("multi-label-image-classification", model="outputs/voc2007")
        >>> tagger("street.jpg", threshold={"person": 0.3}, top_k=2)
        [{'label': 'car', 'score': 0.97}, {'label': 'person', 'score': 0.41}]
        ```
    """

    THRESHOLD = 0.5
    """Least score of a tag where the checkpoint gives none."""

    _load_processor: Any = False
    _load_image_processor: Any = True
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = False
    image_processor: Any
    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._label_sets: dict[Any, Vocabulary] = {}
        super().__init__(*args, **kwargs)
        problem = self.model.config.problem_type
        if problem != "multi_label_classification":
            raise ValueError(
                f"model: problem_type is {problem!r}, so its scores are not one probability a label; "
                "give a model whose config says 'multi_label_classification'."
            )
        self.model.eval()

    @property
    def label_names(self) -> list[str]:
        """The names of the checkpoint's labels, in the order of the logits."""
        return [str(self.model.config.id2label[label]) for label in range(self.model.config.num_labels)]

    @property
    def gives_maps(self) -> bool:
        """Whether the model has a transport plan, for heatmaps, maps and boxes."""
        return capability(self.model, "gives_maps")

    def marks_seen(self, labels: Sequence[str] | None = None) -> bool:
        """Whether tags tell `"seen"`, with other labels than the checkpoint's or without."""
        return labels is not None or getattr(self.model.config, "seen_labels", None) is not None

    def __call__(  # type: ignore[override]
        self, inputs: Any, **kwargs: Any
    ) -> list[Any] | Iterator[list[dict[str, Any]]]:
        """Tag one image or many.

        Args:
            inputs (image, `list`, data set or iterable of images): An image is a `PIL.Image`, the path of a
                file, a URL or base64.
            **kwargs: Arguments of the pipeline for this call; `batch_size` and `num_workers`.

        Returns:
            For an image the list of its tags by falling score, each `{"label": str, "score": float}`, with heatmaps
            also `"heatmap"`, an RGB `PIL.Image` of the image's size, and `"box"`, `{"xmin", "ymin", "xmax",
            "ymax"}` in its pixels, see `heatmap_box`. With `labels`, and where the checkpoint was given other labels
            than its weights were trained on, also `"seen"`: whether a label of that name was trained on. For a list, a
            list of such; for a data set, a generator or another iterable, such as a column of `datasets`, an iterator
            that reads images as it goes.

        Raises:
            TypeError: An argument that there is not.
            UnreadableImageError: A `ValueError`: an image that cannot be read.
            ValueError: An argument that cannot be used.
        """
        if isinstance(inputs, list) and not inputs:
            return []
        streamed = list | Dataset | Generator | str | bytes | os.PathLike | Image.Image | Mapping | np.ndarray | Tensor
        if isinstance(inputs, Iterable) and not isinstance(inputs, streamed):
            inputs = (image for image in inputs)
        return super().__call__(inputs, **kwargs)

    def stages(self, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Check arguments of a call, and give what `preprocess`, `forward` and `postprocess` take for them.

        For callers that read images themselves, batch them, or look at one forward pass from several sides.

        Raises:
            TypeError: An argument that there is not.
            ValueError: An argument that cannot be used.
        """
        given = self._sanitize_parameters(**arguments)
        preset = (self._preprocess_params, self._forward_params, self._postprocess_params)
        reading, running, choosing = (before | now for before, now in zip(preset, given, strict=True))
        self.thresholds(choosing.get("labels"), choosing.get("threshold"))
        self._known(running.get("labels"), running.get("known_labels"))
        return reading, running, choosing

    def thresholds(
        self, names: Sequence[str] | None = None, threshold: float | Mapping[str, float] | None = None
    ) -> list[float]:
        """Tell from which score each of C labels is a tag.

        Args:
            names: The labels' names, those of the checkpoint or others; a label that it does not know has 0.5.
            threshold: One number for all labels, or numbers by name, before the checkpoint's own.

        Raises:
            ValueError: A threshold outside [0, 1], or for a name that is not among `names`.
        """
        names = self.label_names if names is None else names
        given: Mapping[str, Any] = threshold if isinstance(threshold, Mapping) else dict.fromkeys(names, threshold)
        _check_names("threshold", given, names)
        for value in given.values():
            real = isinstance(value, float | int | np.number) and not isinstance(value, bool)
            if value is not None and not (real and 0 <= value <= 1):
                raise ValueError(f"threshold is {value!r}: give a score from 0 to 1, or such scores by label")
        kept = dict(zip(self.label_names, getattr(self.model.config, "thresholds", None) or (), strict=False))
        found = kept | {name: value for name, value in given.items() if value is not None}
        return [float(found.get(name, self.THRESHOLD)) for name in names]

    def _sanitize_parameters(self, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = sorted(set(arguments) - set(_STAGES))
        if unknown:
            raise TypeError(f"{TASK} has no argument {unknown[0]!r}: it takes {', '.join(_STAGES)}.")
        given = {name: value for name, value in arguments.items() if value is not None}
        top_k = given.get("top_k", 1)
        if not (isinstance(top_k, int) and not isinstance(top_k, bool) and top_k >= 1):
            raise ValueError(f"top_k is {top_k!r}: give a whole number from 1")
        if "threshold" in given and not isinstance(given["threshold"], Mapping):
            self.thresholds(None, given["threshold"])
        for name in ("heatmaps", "maps"):
            if not isinstance(given.get(name, False), bool):
                raise ValueError(f"{name} is {given[name]!r}: give True or False.")
            if given.get(name) and not self.gives_maps:
                kind = self.model.config.model_type
                raise ValueError(f"heatmaps: a model of type {kind!r} has no transport plan; use an SCT model.")
        label_set = {}
        if "labels" in given:
            texts = label_texts(given["labels"])
            found = self._label_set(texts, given.get("label_encoder"), given.get("label_templates"))
            given["labels"], label_set = list(texts), {"label_set": found}
        for name, use in (("label_encoder", "encode"), ("label_templates", "be put into")):
            if name in given and "labels" not in given:
                raise ValueError(f"{name} is given without labels, which it would {use}: give labels too.")
        taken = [{name: value for name, value in given.items() if stage in _STAGES[name]} for stage in range(3)]
        return taken[0], taken[1] | label_set, taken[2]

    def _label_set(self, texts: Any, encoder: str | None, templates: Any) -> Vocabulary:
        """The vocabulary of labels; the last few are kept, by all that they depend on."""
        key = (tuple(texts.items()), encoder, repr(templates), self.model.device, self.model.dtype)
        found = self._label_sets.get(key)
        if found is None:
            text = encode_new_labels(texts, self.model, encoder, templates)  # refuses models that take none
            found = self.model.vocabulary(*text)
            kept = list(self._label_sets.items())[1 - _KEPT_LABEL_SETS :]
            self._label_sets = dict([*kept, (key, found)])
        return found

    def _known(self, labels: list[str] | None, known_labels: Any) -> Tensor | None:
        """What is known of labels by name, (C,): 1 present, 0 absent, −1 unknown; None where nothing is."""
        if not isinstance(known_labels, Mapping | None):
            raise ValueError(f"known_labels is {known_labels!r}: give a dict of True or False by label.")
        if not known_labels:
            return None
        if not capability(self.model, "takes_known_labels"):
            raise ValueError(
                "known_labels are of no use to this model, whose labels have no states: leave them out, or use a "
                "checkpoint trained with --head sct_known_labels."
            )
        names = labels or self.label_names
        _check_names("known_labels", known_labels, names)
        for name, present in known_labels.items():
            if not isinstance(present, bool):
                raise ValueError(f"known_labels[{name!r}] is {present!r}: give True for present or False for absent.")
        return torch.tensor([float(known_labels.get(name, -1)) for name in names])

    def preprocess(self, input_: Any, heatmaps: bool = False) -> dict[str, Any]:  # type: ignore[override]
        """Read an image: `"pixel_values"` (1, 3, H, W), its `"size"` and, for heatmaps, `"image"`.

        Raises:
            UnreadableImageError: It cannot be read.
        """
        try:
            image = to_rgb(input_) if isinstance(input_, Image.Image) else open_image(input_)
        except Exception as error:  # broken files make Pillow's decoders raise almost anything
            raise UnreadableImageError(
                f"image {str(input_)[:200]!r} cannot be read ({str(error)[:200]}): give a PIL image, a file, "
                "a URL or base64."
            ) from error
        pixels = self.image_processor(images=image, return_tensors="pt")["pixel_values"].to(self.dtype)
        return {"pixel_values": pixels, "size": image.size} | ({"image": image} if heatmaps else {})

    def _forward(  # type: ignore[override]
        self,
        input_tensors: dict[str, Any],
        heatmaps: bool = False,
        maps: bool = False,
        label_set: Vocabulary | None = None,
        labels: list[str] | None = None,
        known_labels: dict[str, bool] | None = None,
    ) -> dict[str, Any]:
        pixels = input_tensors["pixel_values"]
        scored = {name: value for name, value in input_tensors.items() if name != "pixel_values"}
        options: dict[str, Any] = {"output_maps": True} if heatmaps or maps else {}
        row = self._known(labels, known_labels)
        if row is not None:
            options["known"] = row.to(pixels.device).expand(len(pixels), -1)
        if label_set is not None:
            if len(label_set) > _LABELS_AT_ONCE and not options and capability(self.model, "scores_in_parts"):
                logits = self.model.score_in_parts(pixels, vocabulary=label_set, size=_LABELS_AT_ONCE)  # (B, C)
                return scored | {"scores": logits.float().sigmoid()}
            options["vocabulary"] = label_set
        output = self.model(pixels, **options)
        scored["scores"] = output.logits.float().sigmoid()  # (B, C)
        return scored | ({"maps": output.transport_plan.float()} if heatmaps or maps else {})  # (B, C, H', W')

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: dict[str, Any],
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        labels: list[str] | None = None,
        maps: bool = False,
    ) -> list[dict[str, Any]]:
        """Choose the tags of one image, see `__call__`."""
        names = self.label_names if labels is None else labels
        scores = model_outputs["scores"][0].numpy()  # (C,)
        chosen = select_tags(scores, np.array(self.thresholds(names, threshold), dtype=np.float32), top_k)
        tags: list[dict[str, Any]] = [{"label": names[label], "score": float(scores[label])} for label in chosen]
        if self.marks_seen(labels):
            seen = seen_in_training([tag["label"] for tag in tags], self.model.config)
            tags = [tag | {"seen": known} for tag, known in zip(tags, seen, strict=True)]
        for label, tag in zip(chosen, tags, strict=True) if "maps" in model_outputs else ():
            plan = model_outputs["maps"][0, label].numpy()  # (H', W')
            if "image" in model_outputs:
                tag["heatmap"] = heatmap_overlay(model_outputs["image"], plan)
            tag |= {"box": heatmap_box(plan, model_outputs["size"])} | ({"map": plan} if maps else {})
        return tags


def select_tags(scores: np.ndarray, thresholds: np.ndarray, top_k: int | None = None) -> list[int]:
    """Choose the labels that reach their thresholds, by falling score, at most `top_k` of them.

    Args:
        scores: (C,) of one image.
        thresholds: (C,).
        top_k: No limit if None.

    Raises:
        ValueError: A score that is no number.
    """
    if not np.isfinite(scores).all():
        raise ValueError("model: its scores are not numbers; its weights are broken, or overflow their dtype")
    order = np.argsort(-scores, kind="stable")
    return [int(label) for label in order if scores[label] >= thresholds[label]][:top_k]


def heatmap_overlay(image: Image.Image, weights: Any) -> Image.Image:
    """Lay a map of weights over an image: bright where they are largest, the image in grey where smallest.

    The map is stretched to its own range (a constant one leaves the image grey) and enlarged bilinearly; colour and
    opacity follow it.

    Args:
        image: The image, any mode; turned upright by its EXIF orientation.
        weights: (H', W') finite real numbers over the whole image, such as a label's transport plan.

    Returns:
        An RGB image of the size of `image` (upright).
    """
    mixed = to_rgb(image).convert("L").convert("RGB")
    levels, table = _stretched(weights, _LEVELS - 1), _colour_table()
    width, height = mixed.size
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        part = (0, top * levels.height / height, levels.width, bottom * levels.height / height)
        fine = levels.resize((width, bottom - top), Image.Resampling.BILINEAR, box=part)
        colours = table.take((np.asarray(fine) + np.float32(0.5)).astype(np.intp))  # (h, W), 4 bytes each
        strip = Image.fromarray(colours.view(np.uint8).reshape(*colours.shape, 4), "RGBA")
        mixed.paste(strip, (0, top), mask=strip)
    return mixed


def heatmap_box(weights: Any, size: tuple[int, int]) -> dict[str, int]:
    """Box a map of weights: the part around its peak where it lies above the middle of its range.

    The map is stretched to its own range and enlarged as for the overlay. The box holds the region that is connected
    to the largest weight by steps up, down, left and right over weights of at least half of that range. A constant
    map gives the whole image. Nothing was trained on boxes: it tells where to look, not where an object ends.

    Args:
        weights: (H', W') finite real numbers over the whole image.
        size: (width, height) of the image in pixels.

    Returns:
        "xmin", "ymin", "xmax", "ymax" in pixels of the image, the upper bounds exclusive.
    """
    width, height = size
    scale = max(1.0, max(size) / _FINEST)
    small = (max(1, round(width / scale)), max(1, round(height / scale)))
    fine = np.asarray(_stretched(weights, 1).resize(small, Image.Resampling.BILINEAR))  # (h, w)
    if not fine.any():
        return {"xmin": 0, "ymin": 0, "xmax": width, "ymax": height}
    high = np.pad(fine >= fine.max() / 2, 1)
    part = np.zeros_like(high)
    part[1:-1, 1:-1].flat[fine.argmax()] = True
    before = 0
    while before < part.sum():  # until it grows no more
        before = part.sum()
        part[1:-1, 1:-1] |= part[:-2, 1:-1] | part[2:, 1:-1] | part[1:-1, :-2] | part[1:-1, 2:]
        part &= high
    rows, columns = (np.flatnonzero(part[1:-1, 1:-1].any(axis)) for axis in (1, 0))
    across, down = width / fine.shape[1], height / fine.shape[0]
    bounds = (columns[0] * across, rows[0] * down, (columns[-1] + 1) * across, (rows[-1] + 1) * down)
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), map(round, bounds), strict=True))


def _stretched(weights: Any, top: int) -> Image.Image:
    """Weights (H', W') stretched to [0, top], as an image of 32-bit floats."""
    low, high = float(np.min(weights)), float(np.max(weights))
    return Image.fromarray((np.asarray(weights, dtype=np.float32) - low) * (top / ((high - low) or 1.0)))


def _colour_table() -> np.ndarray:
    """Colour and opacity of each level, as bytes of one number: (_LEVELS,) uint32."""
    colours = np.array([list(bytes.fromhex(colour)) for colour in _INFERNO.split()])  # (16, 3)
    levels, places = np.linspace(0, 1, _LEVELS), np.linspace(0, 1, len(colours))
    channels = [np.interp(levels, places, channel) for channel in colours.T]
    return np.stack([*channels, 255 * _OPACITY * levels], axis=-1).round().astype(np.uint8).view(np.uint32)[:, 0]


def _check_names(field: str, given: Mapping[Any, Any], names: Sequence[str]) -> None:
    if strange := given.keys() - set(names):
        some = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise ValueError(f"{field}: no label is called {min(map(repr, strange))}; the labels are {some}")


__all__ = ["TASK", "MultiLabelImageClassificationPipeline", "UnreadableImageError", "heatmap_box", "heatmap_overlay"]
__all__ += ["select_tags"]
