"""The random generators of a process as plain values, and back."""

import random
from typing import Any

import numpy as np
import torch


def random_states(device: torch.device) -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's generators, and of the one of `device` if that is no CPU."""
    numpy: Any = np.random.get_state(legacy=False)
    states = {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def set_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put the generators where `random_states` found them.

    Raises:
        KeyError, TypeError, ValueError or RuntimeError: A state is missing, of another kind of device too, or damaged.
    """
    numpy = states["numpy"]
    key = np.array(numpy["state"]["key"], dtype=np.uint32)
    random.setstate(states["python"])
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    torch.set_rng_state(states["torch"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[device.type])
