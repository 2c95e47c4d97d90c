"""Tiny models of the kinds of backbones that the conformance tests go over."""

from typing import Any

import pytest
import torch

from sct_hf import SCTForMultiLabelClassification
from tests.model.tiny import tiny_config

SWIN = {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
BACKBONES: dict[str, dict[str, Any]] = {
    "cnn": {"backbone": "test_efficientnet"},
    "vit": {"backbone": "test_vit"},
    "swin": {"backbone": "swin_tiny_patch4_window7_224", "backbone_kwargs": SWIN},
}
over_backbones = pytest.mark.parametrize("kind", BACKBONES)


def tiny_model(
    kind: str, variant: type[Any] = SCTForMultiLabelClassification, **fields: Any
) -> SCTForMultiLabelClassification:
    """A model from seed 0, in evaluation mode, with trained-looking batch statistics."""
    torch.manual_seed(0)
    model = variant(tiny_config(variant.config_class, **BACKBONES[kind] | fields))
    model(torch.randn(4, 3, *model.config.input_size))
    return model.eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def assert_same_tensors(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for kind in ("named_parameters", "named_buffers"):  # buffers that are not saved, too
        mine, theirs = dict(getattr(one, kind)()), dict(getattr(other, kind)())
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert torch.equal(mine[key], theirs[key]), key


def assert_same_after_loading(model: torch.nn.Module, loaded: torch.nn.Module, pixels: torch.Tensor) -> None:
    """Tensors bit by bit, logits to rounding: the address of a tensor decides in which order some CPUs add up."""
    assert_same_tensors(model, loaded)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels).logits, model(pixels).logits)
