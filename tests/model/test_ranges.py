"""Numbers of a configuration: the ends of each range by hand, what lies beyond is refused by name."""

import math
from dataclasses import fields

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from sct_hf import PeerConfig, SCTConfig

SHARES = ("input_dropout", "dropout", "scorer_dropout", "aligned_dropout", "familiarity_threshold", "clip")
CLOSED_SHARES = ("rho", "prototype_pooling")
POSITIVE = ("temperature",)
WIDTHS = ("hidden_size", "label_embedding_size", "encoder_attention_heads", "encoder_ffn_dim")
WEIGHTS = ("semantic_loss_weight", "transport_loss_weight", "gamma_neg", "gamma_pos")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in SHARES for value in (-0.01, 1, 1.5, math.nan)),
        *((name, value) for name in CLOSED_SHARES for value in (-0.01, 1.01, math.nan)),
        *((name, value) for name in POSITIVE for value in (0, -0.1, math.nan)),
        *((name, value) for name in WIDTHS for value in (0, -1)),
        *((name, value) for name in WEIGHTS for value in (-0.01, math.nan)),
        ("encoder_layers", -1),
        *(("feature_levels", value) for value in (0, 3)),
    ],
)
def test_beyond_the_range(name: str, value: float) -> None:
    with pytest.raises(StrictDataclassError, match=rf"{name}=.* cannot be used: give a number"):
        SCTConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in SHARES for value in (0, 0.99)),
        *((name, value) for name in CLOSED_SHARES for value in (0, 1)),
        *((name, 1e-6) for name in POSITIVE),
        *((name, 1) for name in WIDTHS),
        *((name, 0) for name in (*WEIGHTS, "encoder_layers")),
        ("hidden_size", None),
        *(("feature_levels", value) for value in (1, 2)),
    ],
)
def test_the_ends_of_the_range(name: str, value: float | None) -> None:
    assert getattr(SCTConfig(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), [("label_embedding_size", 0), ("transport_loss_weight", -1), ("clip", 1)])
def test_peer_heads_have_ranges_too(name: str, value: float) -> None:
    with pytest.raises(StrictDataclassError, match=rf"{name}=.* cannot be used: give a number"):
        PeerConfig(**{name: value})


def test_every_number_has_a_range() -> None:
    """But the input's size, which is checked by itself."""
    of_transformers = {one.name for one in fields(PreTrainedConfig)}
    numbers = {
        one.name for one in fields(SCTConfig) if one.name not in of_transformers and type(one.default) in (int, float)
    }
    without = {one.name for one in fields(SCTConfig) if one.metadata.get("within") is None}
    assert numbers & without == {"image_size"}
