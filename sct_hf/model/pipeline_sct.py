"""The pipeline "multi-label-image-classification": images → tags and their places.

A checkpoint contains a copy, and its config.json lists it under `custom_pipelines`.
"""

import math
import os
import reprlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Pipeline

from .backbone_sct import capability
from .image_processing_sct import (
    HEATMAP_SIDE,
    LimitError,
    Limits,
    heatmap_box,
    heatmap_overlay,
    open_image,
    to_rgb,
    told_size,
)
from .outputs_sct import label_scores, label_thresholds
from .vocabulary_sct import Vocabulary, encode_new_labels, label_texts, seen_in_training

TASK = "multi-label-image-classification"

_STAGES = {  # arguments of a call, and which of preprocess (0), forward (1) and postprocess (2) take them
    **{"heatmaps": (0, 1), "known_labels": (1,), "label_encoder": (), "label_templates": ()},
    **{"labels": (1, 2), "list_length": (2,), "maps": (1, 2), "threshold": (2,), "top_k": (2,)},
    **{"profile": (2,), "abstain": (2,)},
}
_KEPT_LABEL_SETS = 8
_LABELS_AT_ONCE = 512


class UnreadableImageError(ValueError):
    """An image cannot be read or is too large; `__cause__` has the reason."""


class MultiLabelImageClassificationPipeline(Pipeline):
    """Tag images: a tag is a label with a score at or above its threshold. `label_scores` has the scores.

    Arguments of the pipeline, or of a call:

    Args:
        threshold (`float` or `dict[str, float]`, *optional*): Least score of a tag, or least scores by label. The
            default is the profile's, or 0.5.
        profile (`str`, *optional*): Which of `config.thresholds` to use, such as `"precision=0.9"`; by default
            `"balanced"`, or the first by name.
        abstain (`float`, *optional*): Mark tags with `"unsure"`: True for labels that score within this distance of
            their threshold, but not below half of it. A label that cannot keep what the profile promises is unsure.
        top_k (`int`, *optional*): Most tags per image; the best are kept.
        heatmaps (`bool`, *optional*, defaults to `False`): Whether each tag gets `"heatmap"`, the map of its label
            over the image, and `"box"`, the part of the image around its peak.
        list_length (`int`, *optional*): Number of images whose heatmaps share `max_images`: the length of a list,
            otherwise 1.
        maps (`bool`, *optional*, defaults to `False`): Whether each tag gets `"map"`, the map itself, (H', W')
            float32 in [0, 1], and `"box"`; see `MultiLabelOutput.heatmap`.
        known_labels (`dict[str, bool]`, *optional*): Labels known to be present (True) or absent (False) in every
            image, for models that take them. They improve the scores of the others; their own scores state what is
            known.
        labels (`list[str]`, or `dict` of texts by name, *optional*): Other labels than the checkpoint's, for
            `scorer="label"`. Its text encoder embeds them; the model does not change. A dict gives texts to embed
            instead of the names: a description, or a list of prompts to average. Scores depend on the set of labels,
            since transport divides each region among them. Very many labels are scored in parts, without heatmaps.
        label_templates (`list[str]`, *optional*): Prompts for all names of `labels`, such as `"a photo of a {}"`.
            They are averaged and replace the checkpoint's template.
        label_encoder (`str`, *optional*): Name or folder of the text encoder, if `config.text_recipe` does not name a
            usable one.

    Arguments of the pipeline only, with defaults in `Limits`:

    Args:
        max_pixels (`int`, *optional*): Most pixels of an image, checked before it is decoded. All images of a list
            together may have four times as many.
        max_images (`int`, *optional*): Most images of a list, and most heatmaps of all its images. Data sets and other
            iterables may have any length.
        max_labels (`int`, *optional*): Most labels given as text. Each prompt, and every 64 characters of it, counts
            as one.

    Example:
        ```python
        >>> tagger = pipeline("multi-label-image-classification", model="outputs/voc2007")
        >>> tagger("street.jpg", threshold={"person": 0.3}, top_k=2)
        [{'label': 'car', 'score': 0.97}, {'label': 'person', 'score': 0.41}]
        ```
    """

    THRESHOLD = 0.5
    """Least score of a tag if the checkpoint has no threshold."""

    LimitError = LimitError
    """What an image over a limit is refused by, for those who have the pipeline and not its module."""

    _load_processor: Any = False
    _load_image_processor: Any = True
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = False
    image_processor: Any
    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._label_sets: dict[Any, Vocabulary] = {}
        self.limits = Limits(**{name: kwargs.pop(name) for name in Limits.names() if kwargs.get(name) is not None})
        super().__init__(*args, **kwargs)
        problem = self.model.config.problem_type
        if problem != "multi_label_classification":
            raise ValueError(
                f"model: problem_type is {problem!r}, so labels have no independent scores; "
                "give a model whose config says 'multi_label_classification'."
            )
        self.model.eval()

    @property
    def label_names(self) -> list[str]:
        """The names of the checkpoint's labels, in the order of the logits."""
        return [str(self.model.config.id2label[label]) for label in range(self.model.config.num_labels)]

    @property
    def gives_maps(self) -> bool:
        """Whether the model has a map of each label, for heatmaps and boxes."""
        return capability(self.model, "gives_maps") or capability(self.model, "scores_regions")

    def marks_seen(self, labels: Sequence[str] | None = None) -> bool:
        """Whether tags have `"seen"`, for the checkpoint's labels or others."""
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
            For an image, the list of its tags by falling score, each `{"label": str, "score": float}`. With heatmaps a
            tag also has `"heatmap"`, an RGB `PIL.Image` of at most 1024 pixels per side, and `"box"`, `{"xmin",
            "ymin", "xmax", "ymax"}` in pixels of the original image, see `heatmap_box`. With `labels`, or if the
            checkpoint's labels were changed after training, a tag has `"seen"`: whether the model was trained on a
            label with this name. For a list, a list of such results. For a data set, a generator or another iterable,
            such as a column of `datasets`, an iterator that reads images as it goes.

        Raises:
            TypeError: An argument does not exist.
            LimitError: A `ValueError`: the call exceeds a limit.
            UnreadableImageError: A `ValueError`: an image cannot be read or is too large.
            ValueError: An argument cannot be used.
        """
        if isinstance(inputs, list) and not inputs:
            return []
        if isinstance(inputs, list):
            self.limits.check_list(map(told_size, inputs), len(inputs))
            kwargs.setdefault("list_length", len(inputs))
        streamed = list | Dataset | Generator | str | bytes | os.PathLike | Image.Image | Mapping | np.ndarray | Tensor
        if isinstance(inputs, Iterable) and not isinstance(inputs, streamed):
            inputs = (image for image in inputs)
        return super().__call__(inputs, **kwargs)

    def stages(self, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Check arguments of a call, and return those of `preprocess`, `forward` and `postprocess`.

        Use it to read or batch images yourself, or to postprocess one forward pass several times.

        Raises:
            TypeError: An argument does not exist.
            ValueError: An argument cannot be used.
        """
        given = self._sanitize_parameters(**arguments)
        preset = (self._preprocess_params, self._forward_params, self._postprocess_params)
        reading, running, choosing = (before | now for before, now in zip(preset, given, strict=True))
        self.thresholds(choosing.get("labels"), choosing.get("threshold"), choosing.get("profile"))
        self._known(running.get("labels"), running.get("known_labels"))
        return reading, running, choosing

    def thresholds(
        self,
        names: Sequence[str] | None = None,
        threshold: float | Mapping[str, float] | None = None,
        profile: str | None = None,
    ) -> list[float]:
        """The threshold of each of C labels; infinite for one that cannot keep what the profile promises.

        Args:
            names: The labels' names. A label that the checkpoint lacks has 0.5.
            threshold: One number for all labels, or numbers by name, which override the profile's.
            profile: One of the checkpoint's profiles; `default_profile` if None.

        Raises:
            ValueError: A threshold is outside [0, 1], its name is not among `names`, or there is no such profile.
        """
        names = self.label_names if names is None else names
        given: Mapping[str, Any] = threshold if isinstance(threshold, Mapping) else dict.fromkeys(names, threshold)
        _check_names("threshold", given, names)
        for value in given.values():
            if value is not None and not _is_score(value) and value != math.inf:
                remedy = "give a score from 0 to 1, or such scores by label"
                raise ValueError(f"threshold is {reprlib.repr(value)}: {remedy}")
        kept = dict(zip(self.label_names, label_thresholds(self.model.config, profile) or (), strict=False))
        found = kept | {name: value for name, value in given.items() if value is not None}
        return [float(found.get(name, self.THRESHOLD)) for name in names]

    def _sanitize_parameters(self, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = sorted(set(arguments) - set(_STAGES))
        if unknown:
            place = "; limits are given where the pipeline is made" if unknown[0] in Limits.names() else ""
            raise TypeError(
                f"{TASK} has no argument {reprlib.repr(unknown[0])}: it takes {', '.join(_STAGES)}{place}."
            )
        given = {name: value for name, value in arguments.items() if value is not None}
        for name in ("top_k", "list_length"):
            count = given.get(name, 1)
            if not (isinstance(count, int) and not isinstance(count, bool) and count >= 1):
                raise ValueError(f"{name} is {reprlib.repr(count)}: give a whole number from 1")
        number = None if isinstance(given.get("threshold"), Mapping) else given.get("threshold")
        self.thresholds(None, number, given.get("profile"))
        if "abstain" in given and not _is_score(given["abstain"]):
            raise ValueError(f"abstain is {reprlib.repr(given['abstain'])}: give a distance of scores from 0 to 1")
        for name in ("heatmaps", "maps"):
            if not isinstance(given.get(name, False), bool):
                raise ValueError(f"{name} is {reprlib.repr(given[name])}: give True or False.")
            if given.get(name) and not self.gives_maps:
                kind = self.model.config.model_type
                what = f"{name}: a model of type {kind!r} has no map of its labels"
                raise ValueError(f"{what}, for heatmaps, boxes or masks; use an SCT model.")
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
        """The vocabulary of labels, from a cache of the last few."""
        key = (tuple(texts.items()), encoder, repr(templates), self.model.device, self.model.dtype)
        found = self._label_sets.get(key)
        if found is None:
            self.limits.check_labels(texts, templates)
            text = encode_new_labels(texts, self.model, encoder, templates)  # refuses models that take none
            found = self.model.vocabulary(*text)
            kept = list(self._label_sets.items())[1 - _KEPT_LABEL_SETS :]
            self._label_sets = dict([*kept, (key, found)])
        return found

    def _known(self, labels: list[str] | None, known_labels: Any) -> Tensor | None:
        """Known labels as values (C,): 1 present, 0 absent, −1 unknown; None if none is known."""
        if not isinstance(known_labels, Mapping | None):
            raise ValueError(f"known_labels is {reprlib.repr(known_labels)}: give a dict of True or False by label.")
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
                shown = f"known_labels[{name!r}] is {reprlib.repr(present)}"
                raise ValueError(f"{shown}: give True for present or False for absent.")
        return torch.tensor([float(known_labels.get(name, -1)) for name in names])

    def preprocess(self, input_: Any, heatmaps: bool = False) -> dict[str, Any]:  # type: ignore[override]
        """Read an image: `"pixel_values"` (1, 3, H, W), its `"size"` and, for heatmaps, `"image"`, made smaller.

        Raises:
            UnreadableImageError: The image cannot be read or is too large.
        """
        read: Any = to_rgb if isinstance(input_, Image.Image) else open_image
        try:
            image = read(input_, self.limits.check_image)
        except LimitError as error:
            raise UnreadableImageError(f"image {str(input_)[:200]!r}: {error}.") from error
        except Exception as error:  # broken files make Pillow's decoders raise almost anything
            raise UnreadableImageError(
                f"image {str(input_)[:200]!r} cannot be read ({str(error)[:200]}): give a PIL image, a file, "
                "a URL or base64."
            ) from error
        pixels = self.image_processor(images=image, return_tensors="pt")["pixel_values"].to(self.dtype)
        read_as = {"pixel_values": pixels, "size": image.size}
        if heatmaps:
            image.thumbnail((HEATMAP_SIDE, HEATMAP_SIDE))
            read_as["image"] = image
        return read_as

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
                return scored | {"scores": label_scores(logits, self.model.config, labels)}
            options["vocabulary"] = label_set
        output = self.model(pixels, **options)
        scored["scores"] = label_scores(output.logits, self.model.config, labels)  # (B, C)
        return scored | ({"maps": output.heatmap} if heatmaps or maps else {})  # (B, C, H', W')

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: dict[str, Any],
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        labels: list[str] | None = None,
        maps: bool = False,
        list_length: int = 1,
        profile: str | None = None,
        abstain: float | None = None,
    ) -> list[dict[str, Any]]:
        """Choose the tags of one image, see `__call__`."""
        names = self.label_names if labels is None else labels
        scores = model_outputs["scores"][0].numpy()  # (C,)
        least, sure = _band(np.array(self.thresholds(names, threshold, profile), dtype=np.float32), abstain)
        chosen = select_tags(scores, least, top_k)
        tags: list[dict[str, Any]] = [{"label": names[label], "score": float(scores[label])} for label in chosen]
        if abstain is not None:
            tags = [
                tag | {"unsure": bool(scores[label] < sure[label])} for tag, label in zip(tags, chosen, strict=True)
            ]
        if self.marks_seen(labels):
            seen = seen_in_training([tag["label"] for tag in tags], self.model.config)
            tags = [tag | {"seen": known} for tag, known in zip(tags, seen, strict=True)]
        if "image" in model_outputs:
            self.limits.check_heatmaps(len(tags), list_length)
        for label, tag in zip(chosen, tags, strict=True) if "maps" in model_outputs else ():
            plan = model_outputs["maps"][0, label].numpy()  # (H', W')
            if "image" in model_outputs:
                tag["heatmap"] = heatmap_overlay(model_outputs["image"], plan)
            tag |= {"box": heatmap_box(plan, model_outputs["size"])} | ({"map": plan} if maps else {})
        return tags


def select_tags(scores: np.ndarray, thresholds: np.ndarray, top_k: int | None = None) -> list[int]:
    """Choose labels with scores at or above their thresholds, by falling score, at most `top_k`.

    Args:
        scores: (C,) of one image.
        thresholds: (C,).
        top_k: No limit if None.

    Raises:
        ValueError: A score is NaN.
    """
    if not np.isfinite(scores).all():
        raise ValueError("model: its scores are NaN; its weights are broken, or overflow their dtype")
    order = np.argsort(-scores, kind="stable")
    return [int(label) for label in order if scores[label] >= thresholds[label]][:top_k]


def _is_score(value: Any) -> bool:
    return isinstance(value, float | int | np.number) and not isinstance(value, bool) and bool(0 <= value <= 1)


def _band(thresholds: np.ndarray, abstain: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Least scores (C,) of a tag, and of a sure tag.

    A label with an infinite threshold is unsure from the highest threshold of the others, so that an order of the
    labels stays.
    """
    if abstain is None:
        return thresholds, thresholds
    highest = max(thresholds[np.isfinite(thresholds)], default=MultiLabelImageClassificationPipeline.THRESHOLD)
    lowest = np.minimum(thresholds, highest)
    return np.maximum(lowest - np.float32(abstain), lowest / 2), thresholds + np.float32(abstain)


def _check_names(field: str, given: Mapping[Any, Any], names: Sequence[str]) -> None:
    if strange := given.keys() - set(names):
        some = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise ValueError(f"{field}: no label is called {min(map(reprlib.repr, strange))}; the labels are {some}")


__all__ = ["TASK", "MultiLabelImageClassificationPipeline", "UnreadableImageError", "heatmap_box", "heatmap_overlay"]
__all__ += ["select_tags"]
