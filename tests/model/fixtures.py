"""Fixtures of tiny models, for every folder of tests that asks for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sct_hf import SCTForMultiLabelClassification
from tests.model.tiny import tiny_config


@pytest.fixture
def make_model() -> Callable[..., SCTForMultiLabelClassification]:
    """Make a tiny SCT, or a variant, from seed 0, in evaluation mode, with trained-looking batch statistics."""

    def make(kind: type[Any] = SCTForMultiLabelClassification, **fields: Any) -> Any:
        torch.manual_seed(0)
        model = kind(tiny_config(kind.config_class, **fields))
        model(torch.randn(4, 3, *model.config.input_size))  # moves the running statistics off 0 and 1
        return model.eval()

    return make


@pytest.fixture
def targets() -> torch.Tensor:
    """Targets (3, 3) with unknown entries of both kinds and an image without a positive."""
    return torch.tensor([[1, 0, -1], [0, torch.nan, 1], [0, 0, 0]])
