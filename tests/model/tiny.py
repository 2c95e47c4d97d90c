"""The configuration of a tiny model, and its labels."""

from typing import Any, TypeVar

from sct_hf import SCTConfig

Config = TypeVar("Config", bound=SCTConfig)
LABELS = ["dog", "cat", "dining table"]


def tiny_config(kind: type[Config] = SCTConfig, **fields: Any) -> Config:  # type: ignore[assignment]
    """A configuration of a few thousand head weights on timm's smallest convolutional network."""
    defaults: dict[str, Any] = {
        "backbone": "test_efficientnet",
        "image_size": 64,
        "hidden_size": 32,
        "encoder_ffn_dim": 48,
        "encoder_attention_heads": 4,
        "label_embedding_size": 12,
        "id2label": dict(enumerate(LABELS)),
    }
    return kind(**defaults | fields)
