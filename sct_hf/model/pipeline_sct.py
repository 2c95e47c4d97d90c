"""The pipeline "multi-label-image-classification": images → tags and where they were seen.

It travels with a checkpoint, whose config.json then lists it under `custom_pipelines`.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Pipeline

from .heatmap_sct import heatmap_box, heatmap_overlay
from .image_processing_sct import open_image, to_rgb
from .known_labels_sct import known_by_name
from .new_labels_sct import encode_new_labels, label_texts, seen_in_training
from .tags_sct import check_count, has_plan, label_names, select_tags, thresholds_of

TASK = "multi-label-image-classification"

_ARGUMENTS = ("heatmaps", "known_labels", "label_encoder", "label_templates", "labels", "threshold", "top_k")
_KEPT_LABEL_SETS = 8
_LABELS_AT_ONCE = 512


class MultiLabelImageClassificationPipeline(Pipeline):
    """Tags images: each label whose score, the sigmoid of its logit, reaches its threshold.

    Arguments of the pipeline, or of a call:

    Args:
        threshold (`float` or `dict[str, float]`, *optional*): Least score of a tag, or such scores by label; labels
            without one have that of `config.thresholds`, or 0.5.
        top_k (`int`, *optional*): At most so many tags an image, the best ones.
        heatmaps (`bool`, *optional*, defaults to `False`): Whether each tag also gets `"heatmap"`, the transport plan
            of its label laid over the image, and `"box"`, the part of the image around the plan's peak.
        known_labels (`dict[str, bool]`, *optional*): Labels known to be present (True) or absent (False) in every
            image, which inform the scores of the others, for checkpoints with `label_states`. Their own scores say
            what is known.
        labels (`list[str]`, or `dict` of texts by name, *optional*): Other labels than those of the checkpoint, for
            `scorer="label"`. They are embedded by its text encoder; the model stays as it is. A dict gives texts that
            stand for a label in place of its name: a description, or a list of prompts, which are averaged. Scores
            depend on which labels are given together, as transport shares each region among them. Very many labels
            are scored a part at a time, without heatmaps.
        label_templates (`list[str]`, *optional*): Prompts for all names of `labels`, such as `"a photo of a {}"`,
            which are averaged, in place of the checkpoint's template.
        label_encoder (`str`, *optional*): Name or folder of that text encoder, where `config.label_text` cannot tell.

    Example:
        ```python
        >>> tagger = pipeline("multi-label-image-classification", model="outputs/voc2007")
        >>> tagger("street.jpg", threshold={"person": 0.3}, top_k=2)
        [{'label': 'car', 'score': 0.97}, {'label': 'person', 'score': 0.41}]
        ```
    """

    _load_processor: Any = False
    _load_image_processor: Any = True
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = False
    image_processor: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._label_sets: dict[Any, tuple[Tensor, Tensor | None]] = {}
        super().__init__(*args, **kwargs)
        problem = self.model.config.problem_type
        if problem != "multi_label_classification":
            raise ValueError(
                f"model: problem_type is {problem!r}, so its scores are not one probability a label; "
                "give a model whose config says 'multi_label_classification'."
            )
        self.model.eval()

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
            ValueError: An image that cannot be read, or an argument that cannot be used.
        """
        if isinstance(inputs, list) and not inputs:
            return []
        streamed = list | Dataset | Generator | str | bytes | Path | Image.Image | Mapping | np.ndarray | Tensor
        if isinstance(inputs, Iterable) and not isinstance(inputs, streamed):
            inputs = (image for image in inputs)
        if isinstance(inputs, Path):
            inputs = str(inputs)
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(self, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = sorted(set(arguments) - set(_ARGUMENTS))
        if unknown:
            raise TypeError(f"{TASK} has no argument {unknown[0]!r}: it takes {', '.join(_ARGUMENTS)}.")
        given = {name: value for name, value in arguments.items() if value is not None}
        check_count("top_k", given.get("top_k"))
        if "threshold" in given and not isinstance(given["threshold"], Mapping):
            thresholds_of(self.model, [""], given["threshold"])
        heatmaps = given.get("heatmaps", False)
        if not isinstance(heatmaps, bool):
            raise ValueError(f"heatmaps is {heatmaps!r}: give True or False.")
        if heatmaps and not has_plan(self.model):
            raise ValueError(
                f"heatmaps: a model of type {self.model.config.model_type!r} has no transport plan; use an SCT model."
            )
        if "labels" in given:
            texts = label_texts(given["labels"])
            templates = given.get("label_templates")
            kept_as = (tuple(texts.items()), given.get("label_encoder"), repr(templates))
            given["label_set"] = self._label_set(kept_as, texts, templates)
            given["labels"] = list(texts)
        for name, use in (("label_encoder", "encode"), ("label_templates", "be put into")):
            if name in given and "labels" not in given:
                raise ValueError(f"{name} is given without labels, which it would {use}: give labels too.")
        preprocess, forward, postprocess = (
            {name: given[name] for name in names if name in given}
            for names in (
                ("heatmaps",),
                ("heatmaps", "label_set", "labels", "known_labels"),
                ("threshold", "top_k", "labels"),
            )
        )
        return preprocess, forward, postprocess

    def _label_set(self, key: tuple[Any, ...], texts: Any, templates: Any) -> tuple[Tensor, Tensor | None]:
        """Embeddings and prototypes of labels; those of the last few sets are kept, by all that they depend on."""
        found = self._label_sets.get(key)
        if found is None:
            found = encode_new_labels(texts, self.model, key[1], templates)
            kept = list(self._label_sets.items())[1 - _KEPT_LABEL_SETS :]
            self._label_sets = dict([*kept, (key, found)])
        return found

    def preprocess(self, input_: Any, heatmaps: bool = False) -> dict[str, Any]:  # type: ignore[override]
        """Read an image: `"pixel_values"` (1, 3, H, W) and, for heatmaps, `"image"`."""
        try:
            image = to_rgb(input_) if isinstance(input_, Image.Image) else open_image(os.fspath(input_))
        except Exception as error:  # broken files make Pillow's decoders raise almost anything
            raise ValueError(
                f"image {str(input_)[:200]!r} cannot be read ({str(error)[:200]}): give a PIL image, a file, "
                "a URL or base64."
            ) from error
        pixels = self.image_processor(images=image, return_tensors="pt")["pixel_values"].to(self.dtype)
        return {"pixel_values": pixels, "image": image} if heatmaps else {"pixel_values": pixels}

    def _forward(  # type: ignore[override]
        self,
        input_tensors: dict[str, Any],
        heatmaps: bool = False,
        label_set: tuple[Tensor, Tensor | None] | None = None,
        labels: list[str] | None = None,
        known_labels: dict[str, bool] | None = None,
    ) -> dict[str, Any]:
        options: dict[str, Any] = {"output_maps": True} if heatmaps else {}
        if label_set is not None:
            options["label_embeddings"], options["label_prototypes"] = label_set
            if len(label_set[0]) > _LABELS_AT_ONCE and not heatmaps and not self.model.config.label_interaction:
                options["labels_at_once"] = _LABELS_AT_ONCE
        pixels = input_tensors["pixel_values"]
        if known_labels is not None:
            row = known_by_name(known_labels, labels or label_names(self.model), self.model.config)  # (C,), or none
            if row is not None:
                options["known_labels"] = row.to(pixels.device).expand(len(pixels), -1)
        output = self.model(pixels, **options)
        scored = {"scores": output.logits.float().sigmoid()}  # (B, C)
        if heatmaps:
            return scored | {"plans": output.transport_plan.float(), "image": input_tensors["image"]}
        return scored

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: dict[str, Any],
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        labels: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Choose the tags of one image, see `__call__`."""
        names = label_names(self.model) if labels is None else labels
        marked = labels is not None or getattr(self.model.config, "seen_labels", None) is not None
        scores = model_outputs["scores"][0].numpy()  # (C,)
        chosen = select_tags(scores, thresholds_of(self.model, names, threshold), top_k)
        tags: list[dict[str, Any]] = [{"label": names[label], "score": float(scores[label])} for label in chosen]
        if marked:
            for tag, seen in zip(
                tags, seen_in_training([tag["label"] for tag in tags], self.model.config), strict=True
            ):
                tag["seen"] = seen
        if "plans" in model_outputs:
            image = model_outputs["image"]
            for label, tag in zip(chosen, tags, strict=True):
                plan = model_outputs["plans"][0, label].numpy()  # (H', W')
                tag |= {"heatmap": heatmap_overlay(image, plan), "box": heatmap_box(plan, image.size)}
        return tags


__all__ = ["TASK", "MultiLabelImageClassificationPipeline"]
