"""Texts → one vector each, by a text encoder of transformers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

_BATCH = 64


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * weights).sum(1) / weights.sum(1)  # (B, D)


def _first(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[:, 0]  # (B, D)


def _last(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]  # (B, D)


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).amax(1)  # (B, D)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": _mean,
    "cls": _first,
    "lasttoken": _last,
    "max": _max,
}


def load_text_encoder(name: str, revision: str | None = None) -> tuple[Any, Any]:
    """Load the tokenizer and the model, float32 and in evaluation mode, of a folder or a Hub name."""
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    return tokenizer, AutoModel.from_pretrained(name, revision=revision, dtype=torch.float32).eval()


def embed_texts(texts: list[str], tokenizer: Any, model: Any, pooling: str, normalised: bool) -> Tensor:
    """Encode texts; an encoder–decoder gives its encoder's vectors.

    Args:
        texts: N texts.
        tokenizer: As from `load_text_encoder`.
        model: As from `load_text_encoder`.
        pooling: One of `POOLINGS` over the last hidden state, or "projection" for `get_text_features`.
        normalised: Whether each vector is brought to length 1.

    Returns:
        (N, D) float32.
    """
    encode = model.get_encoder() if model.config.is_encoder_decoder else model
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows = []
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # texts of like length need little padding
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            part = [texts[index] for index in order[start : start + _BATCH]]
            batch = tokenizer(part, padding=True, truncation=True, return_tensors="pt")
            if pooling == "projection":
                rows.append(model.get_text_features(**batch).pooler_output)
            else:
                rows.append(POOLINGS[pooling](encode(**batch).last_hidden_state, batch["attention_mask"]))
    vectors = torch.cat(rows)[torch.tensor(order).argsort()].clone()  # (N, D)
    return F.normalize(vectors, dim=-1) if normalised else vectors


__all__ = ["POOLINGS", "embed_texts", "load_text_encoder"]
