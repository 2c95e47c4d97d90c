"""States as safetensors: what comes back is what went in."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sct_hf.training.plain_state import load_plain, save_plain

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.booleans())
STATES = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner), max_leaves=12
)


@given(state=STATES)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plain_values(tmp_path: Path, state: Any) -> None:
    save_plain(state, tmp_path / "state.safetensors")
    assert repr(load_plain(tmp_path / "state.safetensors")) == repr(state)  # tells 1, 1.0, True and -0.0 apart


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_tensors(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    images = (9 * torch.randn(2, 3, 5, 4)).to(dtype)
    tensors = [
        torch.tensor(3).to(dtype),
        images,
        images.to(memory_format=torch.channels_last),
        images.clone().permute(3, 1, 0, 2),
        torch.zeros(0, 4, dtype=dtype),
    ]
    save_plain({"state": {0: tensors}}, tmp_path / "state.safetensors")
    found = load_plain(tmp_path / "state.safetensors")["state"][0]
    for one, other in zip(tensors, found, strict=True):
        assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        assert torch.equal(one, other)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", print])
def test_what_would_need_pickle(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be saved without pickle"):
        save_plain({"inner": [value]}, tmp_path / "state.safetensors")
    assert not (tmp_path / "state.safetensors").exists()
