"""What decides the tags of a run: results of two runs belong together only if it is the same."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from sct_hf.inference.rows import SCHEMA_VERSION
from sct_hf.inference.tagger import Tagger

NAMED = "model"
"""The setting that only tells readers: the model's name. Its digest decides."""


def run_settings(tagger: Tagger, *, engine: str, boxes: bool, **options: Any) -> dict[str, Any]:
    """The settings of a run, as JSON can hold them.

    Args:
        tagger: The tagger.
        engine: What runs the model.
        boxes: Whether results have boxes.
        **options: Options of `Tagger.tag` that decide tags, and the folders of pictures that belong to them.

    Returns:
        "model", its name; "weights", its `model_digest`; the names of "labels" and their "thresholds", null where a
        label is never a tag; and the options.
    """
    given = {name: value for name, value in options.items() if value is not None and value != {}}
    labels = list(given.pop("labels", tagger.label_names))
    thresholds = tagger.pipeline.thresholds(labels, given.pop("threshold", None), given.pop("profile", None))
    return {
        "schema": SCHEMA_VERSION,
        NAMED: _name(str(getattr(tagger.model, "name_or_path", ""))),
        "weights": model_digest(tagger.model, tagger.processor),
        "labels": labels,
        "thresholds": [None if math.isinf(least) else least for least in thresholds],
        "engine": engine,
        "boxes": boxes,
        **given,
    }


def model_digest(model: PreTrainedModel, *processors: Any, without: Collection[str] = ()) -> str:
    """Hex SHA-256 of what decides a model's scores: its weights, configuration and image processor, if given.

    Args:
        model: The model.
        *processors: Its image processor, if pixels are not given.
        without: Fields of the configuration that do not count.
    """
    digest = hashlib.sha256()
    for part in (model.config, *processors):
        kept = {
            name: value
            for name, value in part.to_dict().items()
            if name not in ("transformers_version", "_name_or_path", *without)
        }
        digest.update(json.dumps(kept, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        if torch.is_tensor(tensor):
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Settings that differ and decide tags, with both values where they are short."""
    names = [name for name in {**found, **wanted} if name != NAMED and found.get(name) != wanted.get(name)]
    return [f"{name}{_both(found.get(name), wanted.get(name))}" for name in names]


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Hex SHA-256 of settings that decide tags."""
    kept = {name: value for name, value in settings.items() if name != NAMED}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _name(model: str) -> str:
    """A model's name: of a folder on this machine only its own."""
    return Path(model).name if Path(model).is_dir() else model


def _both(found: Any, wanted: Any) -> str:
    texts = [json.dumps(value, ensure_ascii=False) for value in (found, wanted)]
    return f" ({texts[0]} there, {texts[1]} here)" if max(map(len, texts)) <= 40 else ""
